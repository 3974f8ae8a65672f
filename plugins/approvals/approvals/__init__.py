"""Decide approvals by rules in bots.ini, and explain each decision in the comment."""

from __future__ import annotations

from typing import Any

from approvals.rules import Rule, Rules
from approvals.words import WORDS, Language
from bothost import AmbiguousField, Event, GiveUp, Plugin, Reply, Settings

__all__ = ["Approvals", "Policy", "Rule", "Rules"]


class Policy(Settings):
    """`form` and `step` limit where the bot decides. The first of `rules` that holds decides; `language` is the comment's."""

    rules: Rules
    form: int | None = None
    step: int | None = None
    explain: bool = True
    language: Language = "en"


class Approvals(Plugin[Policy]):
    """Answers only where the bot is asked to decide, because an approver that comments unasked is noise."""

    async def handle(self, event: Event) -> Reply | None:
        """Judge the task by the rules in their order."""
        settings = self.settings
        if not event.waiting or (settings.form is not None and event.task.form_id != settings.form):
            return None
        if settings.step is not None and event.step != settings.step:
            return None
        self._check_fields(event)
        found = settings.rules.first(event.task, settings.language)
        if found is None:
            self.log.info("no rule holds for task %d: left to people", event.task_id)
            return None
        rule, why = found
        return self._reply(event, rule, why)

    def _check_fields(self, event: Event) -> None:
        """Raise GiveUp if a rule names a field that the form does not have, or has twice."""
        for name in sorted(self.settings.rules.fields):
            try:
                field = event.task.field(name)
            except AmbiguousField as error:
                raise GiveUp(f"a rule names a field that is not the only one of its name: {error}") from error
            if field is None:
                raise GiveUp(f"a rule names the field {name!r}, which task {event.task_id} does not have")

    def _reply(self, event: Event, rule: Rule, why: str) -> Reply:
        person: Any = int(rule.who) if rule.who.isdecimal() else rule.who
        words = WORDS[self.settings.language][rule.action].format(who=rule.who, why=why)
        text = words if self.settings.explain else None
        if rule.action == "approve":
            return Reply.approve(text)
        if rule.action == "reject":
            return Reply.reject(text)
        if rule.action == "ask":
            # the bot's own approval is given, so that the step hangs on the person alone
            return Reply.approve(text, approvals_added={event.step: [person]})
        removed = {event.step: [event.user_id]} if event.user_id is not None else None
        return Reply(text, approvals_added={event.step: [person]}, approvals_removed=removed)
