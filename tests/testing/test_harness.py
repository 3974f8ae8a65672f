"""What a plugin's test gets: the real pipeline and journal, virtual time, attempts, timers, a fake Pyrus."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
import unittest
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from decimal import Decimal
from pathlib import Path
from time import sleep as own_sleep
from typing import Any

import pytest

import bothost.testing
from bothost import Event, GiveUp, Plugin, Reply, Secret, Settings, cron, every, on
from bothost.errors import ConfigError, PluginError, ReplyError
from bothost.testing import Harness, comment, me, person, task

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Rules(Settings):
    limit: Decimal = Decimal(100)
    chief: str = "chief@corp.ru"


class Approvals(Plugin[Rules]):
    async def handle(self, event: Event) -> Reply | None:
        if not event.waiting:
            return None
        amount = event.task.value("Сумма", Decimal)
        if amount is None:
            return Reply("No amount: asked the chief.", approvals_added={2: [self.settings.chief]})
        return Reply.approve("within the limit") if amount <= self.settings.limit else Reply.reject("too much")


def greet(event: Event) -> Reply:
    return Reply(text=f"Hello, {event.task.author.email}.", approval_choice="approved")


def test_a_plugin_answers_a_task(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, limit=500)
    answer = bot.deliver(task(form_id=321, step=2, fields={"Сумма": 400}))
    assert answer.status == 200
    assert answer.reply is not None
    assert answer.reply.approval_choice == "approved"
    assert answer.json == {"text": "within the limit", "approval_choice": "approved"}
    assert answer.outcome == "replied"
    assert answer.error is None
    assert bothost.assert_one_comment().door == "response"


def test_silence_is_an_empty_object_and_no_comment(bothost: Harness) -> None:
    bot = bothost.bot(Approvals)
    answer = bot.deliver(task())
    assert (answer.status, answer.body, answer.reply, answer.outcome) == (200, b"{}", None, "silent")
    assert bothost.pyrus.written == []


@pytest.mark.parametrize(
    ("said", "json"), [("text", {"text": "text"}), ({"subject": "new"}, {"subject": "new"}), (None, {})]
)
def test_functions_may_return_texts_dicts_and_nothing(bothost: Harness, said: Any, json: Any) -> None:
    bot = bothost.bot(lambda event: said)
    assert bot.deliver(task()).json == json


def test_a_plain_function_and_an_async_one_are_taken(bothost: Harness) -> None:
    async def later(event: Event) -> str:
        await asyncio.sleep(1)
        return "later"

    assert bothost.bot(greet).deliver(task(author="anna@corp.ru")).json["text"] == "Hello, anna@corp.ru."
    assert bothost.bot(later, name="later").deliver(task()).json == {"text": "later"}


async def slow(event: Event) -> str:
    await asyncio.sleep(70)
    return "at last"


def slow_in_a_thread(event: Event) -> str:
    time.sleep(30)
    own_sleep(40)
    return "at last"


async def slow_to_thread(event: Event) -> str:
    await asyncio.to_thread(time.sleep, 70)
    return "at last"


@pytest.mark.parametrize("handler", [slow, slow_in_a_thread, slow_to_thread])
def test_a_handler_of_70_seconds_answers_late_in_milliseconds(bothost: Harness, handler: Any) -> None:
    began = time.perf_counter()
    bot = bothost.bot(handler)
    answer = bot.deliver(task())
    assert (answer.status, answer.reply, answer.outcome) == (200, None, "late")
    assert bothost.clock.now - START == timedelta(seconds=50)
    bothost.clock.advance("19s")
    assert bothost.pyrus.written == []
    bothost.clock.advance("1s")
    assert bothost.assert_one_comment().text == "at last"
    assert bothost.clock.now - START == timedelta(seconds=70), "a virtual sleep is exact"
    assert time.perf_counter() - began < 2


def test_the_next_attempt_joins_the_run(bothost: Harness) -> None:
    runs = []

    async def handler(event: Event) -> str:
        runs.append(event.attempt)
        await asyncio.sleep(70)
        return "at last"

    bot = bothost.bot(handler, ini={"late": "retry"})
    assert bot.deliver(task()).status == 503
    bothost.clock.advance("11s")
    answer = bot.redeliver()
    assert answer.json == {"text": "at last"}
    assert runs == [1]
    assert bothost.clock.now - START == timedelta(seconds=70)
    bothost.assert_one_comment()


def test_three_attempts_of_a_failing_handler(bothost: Harness) -> None:
    seen = []

    async def handler(event: Event) -> str:
        seen.append((event.attempt, event.rerun))
        raise ValueError(f"attempt {event.attempt}")

    bot = bothost.bot(handler)
    first = bot.deliver(task())
    assert first.status == 500
    assert isinstance(first.error, ValueError)
    with pytest.raises(AssertionError, match="attempt 1") as caught:
        _ = first.reply
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__.__traceback__ is not None
    bothost.clock.advance("61s")
    assert bot.redeliver().status == 500
    bothost.clock.advance("61s")
    last = bot.redeliver()
    assert (last.status, last.outcome) == (500, "failed")
    assert seen == [(1, ""), (2, "error"), (3, "error")]


def test_a_repeat_gets_the_stored_reply_without_a_second_run(bothost: Harness) -> None:
    runs = []

    def handler(event: Event) -> str:
        runs.append(event.id)
        return "once"

    bot = bothost.bot(handler)
    first = bot.deliver(task())
    again = bot.redeliver()
    assert again.body == first.body
    assert again.outcome == "repeat"
    assert again.headers["X-Bothost"] == "repeat"
    assert len(runs) == 1


def test_give_up_fails_without_further_attempts(bothost: Harness) -> None:
    def handler(event: Event) -> None:
        raise GiveUp("never will")

    bot = bothost.bot(handler, ini={"error_text": "Sorry."})
    answer = bot.deliver(task())
    assert answer.json == {"text": "Sorry."}
    assert isinstance(answer.error, GiveUp)
    assert answer.reply == Reply("Sorry.")


def test_bytes_and_bodies_are_delivered_as_they_are(bothost: Harness) -> None:
    bodies = []

    def handler(event: Event) -> None:
        bodies.append((event.body, event.kind, event.bot_settings, event.user_id))

    bot = bothost.bot(handler)
    raw = b'{ "task_id": 5, "task": {"id": 5} }\n'
    assert bot.deliver(raw).status == 200
    bot.deliver({"task_id": 7, "event": "close", "user_id": 12, "bot_settings": "x", "task": task(id=7)})
    assert bodies[0][0] == raw
    assert bodies[1][1:] == ("close", "x", 12)


def test_what_is_no_text_in_a_delivery_is_known_to_the_fake_pyrus_as_the_host_reads_it(bothost: Harness) -> None:
    async def handler(event: Event) -> str:
        known = await event.pyrus.task(event.task_id)
        return f"{known.text} {known.comments[0].text}"

    comments = b'[{"id": 1, "text": "\xff"}, {"id": 2, "text": "new"}]'
    answer = bothost.bot(handler).deliver(
        b'{"task_id": 5, "task": {"text": "a\\ud800", "comments": ' + comments + b"}}"
    )
    assert answer.json == {"text": "a\ufffd \ufffd"}


def test_what_is_not_signed_by_the_bot_is_refused(bothost: Harness) -> None:
    bot = bothost.bot(greet)
    answer = bot.send(b"{}", {"X-Pyrus-Sig": "00"}).answer()
    assert (answer.status, answer.json) == (403, {})
    assert bot.deliver(b"[1]").status == 400


def test_settings_are_python_values_or_texts_and_all_errors_come_at_once(bothost: Harness) -> None:
    class Many(Settings):
        period: timedelta
        names: list[str]
        rates: dict[str, int]
        fast: bool = False
        note: str | None = "x"

    class Keeper(Plugin[Many]):
        def handle(self, event: Event) -> None: ...

    bot = bothost.bot(
        Keeper, period=timedelta(minutes=15), names=["a", "b"], rates={"x": 1, "y": 2}, fast=True, note=None
    )
    settings = bot.plugin.settings
    assert settings == Many(
        period=timedelta(minutes=15), names=["a", "b"], rates={"x": 1, "y": 2}, fast=True, note=None
    )
    with pytest.raises(ConfigError) as caught:
        bothost.bot(Keeper, name="other", period="soon", names="a", unknown=1)
    assert len(caught.value.problems) == 3


class Route:
    """A type of a plugin's own."""

    @classmethod
    def parse(cls, text: str) -> Route:
        raise ValueError(f"{text} is not for this test")


class Routes(Settings):
    first: Route
    places: list[str]
    words: dict[str, str]


class Router(Plugin[Routes]):
    def handle(self, event: Event) -> None: ...


def test_python_values_reach_the_plugin_as_they_are_where_bots_ini_could_not_say_them(bothost: Harness) -> None:
    route = Route()
    bot = bothost.bot(Router, first=route, places=["Kazan, Bauman 1"], words={"a": " b "})
    assert bot.plugin.settings == Routes(first=route, places=["Kazan, Bauman 1"], words={"a": " b "})
    with pytest.raises(ConfigError, match="places"):
        bothost.bot(Router, name="other", first=route, places=[1], words={})


def test_keys_of_the_section_are_checked_as_in_bots_ini(bothost: Harness) -> None:
    with pytest.raises(ConfigError, match="late"):
        bothost.bot(greet, ini={"late": "sometimes"})


def test_a_class_that_is_no_plugin_is_refused(bothost: Harness) -> None:
    with pytest.raises(PluginError):
        bothost.bot(dict)


def test_an_unknown_entry_point_is_refused_with_what_there_is(bothost: Harness) -> None:
    with pytest.raises(PluginError, match="not installed"):
        bothost.bot("surely-not-installed")


def test_an_installed_plugin_is_taken_by_its_name(bothost: Harness) -> None:
    bot = bothost.bot("autoreply", greeting="Good day")
    answer = bot.deliver(task(author="anna@corp.ru"))
    assert answer.json == {"text": "Good day, anna@corp.ru. This task approved by bot.", "approval_choice": "approved"}
    assert bot.plugin.settings.greeting == "Good day"


def test_every_name_of_the_package_is_there() -> None:
    assert all(getattr(bothost.testing, name) is not None for name in bothost.testing.__all__)
    assert sorted(bothost.testing.__all__) == bothost.testing.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bothost.testing.nothing


def test_the_clock_tells_the_time_called_or_not(bothost: Harness) -> None:
    assert bothost.clock.now == bothost.clock.now() == START


def test_a_handlers_own_thread_and_queue_take_real_time_and_no_virtual_one(bothost: Harness) -> None:
    def handler(event: Event) -> str:
        done = threading.Event()
        threading.Timer(0.05, done.set).start()
        done.wait()
        return "done"

    assert bothost.bot(handler).deliver(task()).json == {"text": "done"}
    assert bothost.clock.now == START


@pytest.mark.parametrize("by", ["61", "1 hour", "x", "-5s", "", -1, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_the_clock_refuses_what_is_no_duration_instead_of_standing_still(bothost: Harness, by: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|by some seconds"):
        bothost.clock.advance(by)
    assert bothost.clock.now == START


def test_a_reply_that_cannot_be_used_fails_the_run(bothost: Harness) -> None:
    answer = bothost.bot(lambda event: {"approval_choice": "perhaps"}).deliver(task())
    assert answer.status == 500
    assert isinstance(answer.error, ReplyError)
    with pytest.raises(AssertionError, match="approval_choice"):
        _ = answer.reply


def test_what_the_fake_pyrus_never_saw_is_taken_on_trust(bothost: Harness) -> None:
    def handler(event: Event) -> dict[str, Any]:
        return {"field_updates": [{"id": 12, "value": 5}], "approvals_added": [[], [{"email": "chief@corp.ru"}]]}

    given = task(form_id=1)
    answer = bothost.bot(handler).deliver(given)
    assert answer.status == 200
    bothost.assert_one_comment(given)
    assert bothost.pyrus.task(given["id"])["approvals"][1][0]["person"]["email"] == "chief@corp.ru"


@dataclass
class Seen:
    times: list[Any] = field(default_factory=list)


seen = Seen()


class Clockwork(Plugin[Settings]):
    async def open(self) -> None:
        seen.times = []

    @every("15m")
    async def often(self) -> None:
        seen.times.append(("often", self.now()))

    @cron("5 8 * * *", tz="Europe/Moscow")
    def daily(self) -> None:
        seen.times.append(("daily", self.now("Europe/Moscow").strftime("%H:%M")))

    @every("1d")
    async def broken(self) -> None:
        raise ValueError("no")


def test_timers_fire_on_the_virtual_clock(bothost: Harness) -> None:
    bothost.bot(Clockwork)
    bothost.clock.advance("14m")
    assert seen.times == []
    bothost.clock.advance("1m")
    assert seen.times == [("often", START + timedelta(minutes=15))]
    bothost.clock.advance("30m")
    assert [when for _, when in seen.times] == [START + timedelta(minutes=15 * n) for n in (1, 2, 3)]


def test_a_timer_ticks_from_the_first_moment_of_its_bot(bothost: Harness) -> None:
    ticks = []

    class Quick(Plugin[Settings]):
        @every("5s")
        async def often(self) -> None:
            ticks.append(self.now())

    bothost.clock.advance("7s")
    bothost.bot(Quick)
    bothost.clock.advance("70s")
    assert len(ticks) == 14


def test_a_timer_can_be_run_now(bothost: Harness) -> None:
    bot = bothost.bot(Clockwork)
    bot.tick("often")
    bot.tick("often")
    assert seen.times == [("often", START), ("often", START)]
    with pytest.raises(AssertionError, match="broken") as caught:
        bot.tick("broken")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(AssertionError, match=r"no timer 'never'.*often"):
        bot.tick("never")


def test_setting_the_clock_passes_ticks_over_and_finds_the_one_that_is_due(bothost: Harness) -> None:
    bothost.bot(Clockwork)
    bothost.clock.set("2026-03-01T08:00+03:00")
    assert bothost.clock.now == datetime(2026, 3, 1, 5, tzinfo=UTC)
    seen.times.clear()
    bothost.clock.advance("6m")
    assert seen.times == [("daily", "08:05")]
    bothost.clock.set("2026-03-02T08:05+03:00")
    assert ("daily", "08:05") in seen.times[1:]


def test_calls_to_pyrus_reach_the_fake_one(bothost: Harness) -> None:
    async def awaiting(event: Event) -> str:
        return f"{(await event.pyrus.task(event.task_id)).text}"

    def waiting(event: Event) -> str:
        event.pyrus.comment(event.task_id, "by hand").wait()
        return f"{event.pyrus.task(event.task_id).wait().text}"

    first, second = bothost.bot(awaiting), bothost.bot(waiting, name="plain")
    given = task(text="Bill 12")
    assert first.deliver(given).json == {"text": "Bill 12"}
    assert second.deliver(given).json == {"text": "Bill 12"}
    assert [wrote.text for wrote in bothost.pyrus.comments(given["id"])] == ["Bill 12", "by hand", "Bill 12"]


def test_a_call_that_nobody_awaits_fails_the_test(bothost: Harness) -> None:
    async def forgetful(event: Event) -> None:
        event.pyrus.comment(event.task_id, "lost")

    bot = bothost.bot(forgetful)
    with pytest.raises(AssertionError, match="never awaited"):
        bot.deliver(task())


def test_a_late_reply_survives_an_api_that_is_down(bothost: Harness) -> None:
    from bothost.testing.fake_pyrus.faults import gateway, refuse_connection

    bothost.pyrus.fail("POST tasks/*/comments", gateway(503), times=2)
    bothost.pyrus.fail("GET tasks/*", refuse_connection(), times=1)
    bot = bothost.bot(slow)
    bot.deliver(task())
    bothost.clock.advance("10m")
    bothost.assert_one_comment()


def test_a_blocking_sleep_on_the_loop_fails_with_its_place(bothost: Harness) -> None:
    async def blocking(event: Event) -> None:
        time.sleep(1)

    bot = bothost.bot(blocking)
    with pytest.raises(AssertionError, match=r"blocking at .*test_harness.py:\d+ blocks the event loop"):
        bot.deliver(task())


def test_a_real_wait_beyond_the_limit_fails_with_its_place(bothost: Harness) -> None:
    release = threading.Event()

    def waits(event: Event) -> None:
        release.wait()

    bothost.real_limit = 0.3
    bot = bothost.bot(waits)
    with pytest.raises(AssertionError, match=r"waits at .*test_harness.py:\d+ has taken more than 0.3 s of real time"):
        bot.deliver(task())
    release.set()


def test_the_log_of_a_delivery_can_be_read(bothost: Harness) -> None:
    class Talker(Plugin[Settings]):
        async def handle(self, event: Event) -> None:
            self.log.info("amount is %s", 5)

    answer = bothost.bot(Talker, name="talker").deliver(task())
    assert "amount is 5" in answer.log
    assert "outcome=silent" in answer.log


def test_own_comments_are_skipped_and_others_are_not(bothost: Harness) -> None:
    bot = bothost.bot(greet)
    own = bot.deliver(task(comments=["hi", comment("mine", author=me())]))
    assert own.outcome == "own"
    other = bothost.bot(greet, name="second")
    assert other.deliver(task(comments=["hi", comment("mine", author=bot.person)])).outcome == "replied"


def test_the_first_matching_method_takes_the_event(bothost: Harness) -> None:
    class Forms(Settings):
        form: int

    class Chooser(Plugin[Forms]):
        @on(form="settings.form", step=2)
        async def second(self, event: Event) -> str:
            return "second"

        @on(form="settings.form")
        async def form(self, event: Event) -> str:
            return "form"

        def handle(self, event: Event) -> str:
            return "other"

    bot = bothost.bot(Chooser, form=321)
    said = [
        bot.deliver(task(**keys)).json["text"]
        for keys in ({"form_id": 321, "step": 2}, {"form_id": 321}, {"form_id": 1}, {})
    ]
    assert said == ["second", "form", "other", "other"]


def test_a_client_that_hangs_up_gets_the_answer_at_its_next_attempt(bothost: Harness) -> None:
    bot = bothost.bot(greet)
    bot.begin(task(author="anna@corp.ru"), hang_up=True)
    assert bothost.pyrus.written == []
    assert bot.redeliver().json["text"] == "Hello, anna@corp.ru."
    bothost.assert_one_comment()


def test_after_a_restart_what_was_parked_goes_on(bothost: Harness) -> None:
    bot = bothost.bot(slow)
    bot.deliver(task())
    bothost.restart()
    bothost.clock.advance("10m")
    assert bothost.assert_one_comment().text == "at last"


def test_several_events_of_one_task_go_one_after_the_other(bothost: Harness) -> None:
    spans = []

    async def handler(event: Event) -> None:
        begun = event.deadline
        await asyncio.sleep(5)
        spans.append(begun)

    bot = bothost.bot(handler)
    given = task()
    for number in range(3):
        bot.begin({**given, "comments": [comment(f"{number}")]})
    bothost.clock.advance("15s")
    assert [(when - spans[0]).total_seconds() for when in spans] == [0, 5, 10]


def test_many_interleaved_events_give_one_trace() -> None:
    def trace() -> list[tuple[float, int, str]]:
        dice = random.Random(7)
        seen: list[tuple[float, int, str]] = []

        async def handler(event: Event) -> str:
            for step in "abc":
                await asyncio.sleep(dice.random() * 30)
                seen.append(((event.deadline - START).total_seconds() - event.time_left, event.task_id, step))
            return "done"

        with Harness() as bothost:
            bot = bothost.bot(handler)
            for _ in range(15):
                bot.begin(task())
                bothost.clock.advance("1s")
            bothost.clock.advance("5m")
            seen.append((0.0, len(bothost.pyrus.written), "written"))
        return seen

    first = trace()
    assert first[-1][1] == 15
    assert all(trace() == first for _ in range(5))


def test_plain_handlers_sleep_exactly_beside_each_other(bothost: Harness) -> None:
    spans: list[tuple[int, float]] = []

    def handler(event: Event) -> None:
        for number in range(1, 4):
            time.sleep(7.25)
            spans.append((number, 900 - event.time_left))

    bot = bothost.bot(handler, ini={"concurrency": 6})
    for _ in range(6):
        bot.begin(task())
    bothost.clock.advance("1m")
    assert sorted(spans) == [(number, number * 7.25) for number in (1, 2, 3) for _ in range(6)]


def test_the_harness_refuses_to_run_inside_a_loop(bothost: Harness) -> None:
    bot = bothost.bot(greet)

    async def test() -> None:
        with pytest.raises(RuntimeError, match="plain `def test_"):
            bot.deliver(task())

    asyncio.run(test())


def test_a_harness_that_is_refused_leaves_no_loop_behind() -> None:
    async def test() -> None:
        with pytest.raises(RuntimeError, match="plain `def test_"), Harness():
            pass

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(test())
        gc.collect()
    assert not [warning for warning in seen if issubclass(warning.category, ResourceWarning)]


def open_journals() -> int:
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, as the listing's own is
            found += "journal.db" in os.readlink(path)
    return found


def test_a_test_that_fails_closes_its_journal() -> None:
    before = open_journals()

    def failing() -> None:
        with Harness() as bothost:
            bothost.bot(greet).deliver(task())
            assert open_journals() > before
            raise KeyError("what the test found wrong")

    with pytest.raises(KeyError):
        failing()
    assert open_journals() == before


def test_a_call_that_a_failed_handler_forgot_is_blamed_on_its_own_test() -> None:
    def forgets(event: Event) -> str:
        forgotten: Any = event.pyrus.task(event.task_id)
        return forgotten.text

    def expects_the_failure() -> BaseException | None:
        with Harness() as bothost:
            return bothost.bot(forgets).deliver(task()).error

    with pytest.raises(AssertionError, match=r"'Pyrus\.task' was never awaited"):
        expects_the_failure()


def test_settings_keep_what_their_texts_in_bots_ini_would_not_say(bothost: Harness) -> None:
    class Exact(Settings):
        pause: timedelta
        at: dt_time
        key: Secret

    class Exactly(Plugin[Exact]): ...

    given = {"pause": timedelta(microseconds=5), "at": dt_time(9, 30, 0, 7), "key": Secret("env:NO_SUCH_VARIABLE")}
    settings = bothost.bot(Exactly, **given).plugin.settings
    assert (settings.pause, settings.at) == (given["pause"], given["at"])
    assert settings.key.reveal() == "env:NO_SUCH_VARIABLE"


def test_assert_one_comment_counts_both_doors(bothost: Harness) -> None:
    def twice(event: Event) -> str:
        event.pyrus.comment(event.task_id, "first").wait()
        return "second"

    given = task()
    bothost.bot(twice).deliver(given)
    with pytest.raises(AssertionError, match="2 comments"):
        bothost.assert_one_comment(given)


class InUnittest(unittest.TestCase):
    def setUp(self) -> None:
        self.bothost = self.enterContext(Harness())

    def test_it_works(self) -> None:
        bot = self.bothost.bot(greet)
        answer = bot.deliver(task(author=person("Anna", "anna@corp.ru")))
        self.assertEqual(answer.json["text"], "Hello, anna@corp.ru.")  # noqa: PT009 - as in unittest
