"""Skip a bot's own newest comment and forms that are not in its list, and learn about bots from bodies."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from bothost.background import Throttle
from bothost.pyrus.envelope import is_own
from bothost.pyrus.samples import TOKEN, TRIAL_IDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.pyrus.envelope import Envelope

log = logging.getLogger("bothost.delivery")

STEPS = 4_000
"""The number of tasks whose last step is remembered. The journal knows the others, and is rarely asked. With five times as many the
table was made anew, 1.3 MB at a time, every 24,000 events, and each time the heap grew by as much."""
HOUR_S = 3600.0
_BOT_EMAIL = b'"bot@'


class EventFilter:
    """Tells own comments and other forms from what a bot must see. Only keys that were not seen before come here."""

    def __init__(self, clock: Clock, learnt: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._learnt = learnt
        """Called with a fact for the journal, `user:bot` or `login:bot`, and its value."""
        self._steps: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._told: Throttle[tuple[str, int, bool]] = Throttle(clock, HOUR_S)

    def learn(self, bot: Bot, envelope: Envelope) -> None:
        """Take the bot's person id, and its login if bots.ini sets none, from a verified body."""
        user_id = envelope.user_id
        if user_id is None or envelope.task_id >= TRIAL_IDS or envelope.token == TOKEN:
            return  # a trial by `bothost send` or the page shows the sample's bot and not this one
        if user_id != bot.user_id:
            bot.user_id = user_id
            self._learnt(f"user:{bot.name}", str(user_id))
            self._learn_login(bot, envelope)
        elif not (bot.config.login or bot.login):
            self._learn_login(bot, envelope)

    def _learn_login(self, bot: Bot, envelope: Envelope) -> None:
        # a look at all persons of a body is dear, so it is left out if no bot is among them
        if bot.config.login or _BOT_EMAIL not in envelope.body:
            return
        login = envelope.login_of(bot.user_id)
        if login and login != bot.login:
            bot.login = login
            self._learnt(f"login:{bot.name}", login)

    def old_secret(self, bot: Bot) -> None:
        """Note the time of a delivery with the old secret, and log it once an hour."""
        now = self._clock.now()
        last = bot.old_secret_at
        bot.old_secret_at = now
        if last is None or (now - last).total_seconds() >= HOUR_S:
            log.warning("Pyrus still signs with old_secret", extra={"bot": bot.name})

    def skips(self, bot: Bot, envelope: Envelope, step: int) -> str:
        """Return why the event is not for the bot: `own`, `form`; `ask` if only the journal can tell; "" if it is."""
        if envelope.kind not in ("", "comment"):
            return ""
        if bot.config.own_comments == "skip" and is_own(envelope, bot.user_id):
            if not step:
                return "own"
            last = self._steps.get((bot.name, envelope.task_id))
            if last is None:
                return "ask"
            if last == step:
                return "own"
        if bot.config.forms and self._other_form(bot, envelope):
            self._tell(bot, envelope, step)
            return "form"
        return ""

    def remember(self, bot: Bot, task: int, step: int) -> None:
        """Know the step of the last event that the bot ran for a task (0: it was asked at none)."""
        steps, key = self._steps, (bot.name, task)
        if key in steps:
            steps.move_to_end(key)
        steps[key] = step
        if len(steps) > STEPS:
            steps.popitem(last=False)

    def forget(self, bot: str, task: int) -> None:
        """Have the journal asked for the last step of this task, because what was remembered came from an older event."""
        self._steps.pop((bot, task), None)

    def _other_form(self, bot: Bot, envelope: Envelope) -> bool:
        form_id = envelope.task.form_id
        if form_id is not None:
            return form_id not in bot.config.forms
        return envelope.task.create_date is not None

    def _tell(self, bot: Bot, envelope: Envelope, step: int) -> None:
        """Log one info line per form and hour, and a warning if the bot is asked to decide there."""
        form_id = envelope.task.form_id or 0
        if self._told.passes((bot.name, form_id, step > 0)) is None:
            return
        extra = {"bot": bot.name, "task": envelope.task_id}
        what = f"form {form_id} is not in `forms`" if form_id else "simple tasks are not in `forms`"
        if step:
            log.warning("%s, yet the bot is asked to decide there at step %d", what, step, extra=extra)
        else:
            log.info("%s: skipped", what, extra=extra)
