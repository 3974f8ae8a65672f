"""Answer what people ask by rules, in the channel in which they asked, and hand the rest over to a colleague."""

from __future__ import annotations

from typing import Any

from bothost import Comment, Event, Plugin, Reply, Settings, Task

__all__ = ["Rules", "SupportChat"]


class Rules(Settings):
    """The keys of the section in bots.ini."""

    answers: dict[str, str]
    colleague: str
    handover: str = "I am asking a colleague, who will answer you here."


class SupportChat(Plugin[Rules]):
    """Speaks until a colleague does: from then on the conversation is theirs."""

    async def handle(self, event: Event) -> Reply | None:
        """Answer the newest comment if the customer wrote it. The host runs the events of a task one after another."""
        task, said = event.task, event.comment
        if said is None or task.is_closed or not is_customers(task, said) or self.is_taken_over(event):
            return None
        answer = self.answer_to(said.text or task.text or "")
        if answer is not None:
            return Reply(answer, channel=way_back(said))
        # a rerun of this event is told its own id again, a later event somebody else's: the handover is said once
        first = await self.store.setdefault(f"handed over {event.task_id}", event.id, expires="90d")
        if first != event.id:
            return None
        return Reply(self.settings.handover, channel=way_back(said), subscribers_added=[self.settings.colleague])

    def answer_to(self, question: str) -> str | None:
        """Return the answer of the first rule of which the question holds a word, or None."""
        asked = question.casefold()
        for words, answer in self.settings.answers.items():
            if any(word.strip().casefold() in asked for word in words.split(",")):
                return answer
        return None

    def is_taken_over(self, event: Event) -> bool:
        """Return whether anybody but the customer and this bot has written."""
        return any(
            comment.author.id != event.user_id and not is_customers(event.task, comment)
            for comment in event.task.comments
            if comment.text
        )


def is_customers(task: Task, comment: Comment) -> bool:
    """Return whether a comment came in by a channel, or is by the author of the task, as an opening comment always is."""
    if comment.channel is not None:
        return comment.channel.direction == "inbound"
    return comment.author.id == task.author.id


def way_back(comment: Comment) -> dict[str, Any] | None:
    """Return the channel of an answer to a comment; without one, customers outside never see it."""
    came = comment.raw.get("channel")
    if not came:
        return None
    there = {"type": came.get("type"), "to": came.get("from"), "integration_id": came.get("integration_id")}
    return {key: value for key, value in there.items() if value is not None}
