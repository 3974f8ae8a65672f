"""The base class and its decorators: which methods are handlers and timers, in what order, after what overrides."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bothost import Event, Plugin, cron, every, hook, on, on_run
from bothost.clock import SystemClock
from bothost.errors import NoLogin
from bothost.plugins.api import PluginHome, TimerMark, settle
from bothost.plugins.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Base(Plugin[Settings]):
    @on(form=1)
    def first(self, event: Event) -> None: ...

    @on(form=2)
    async def second(self, event: Event) -> None: ...

    @every("15m")
    def sweep(self) -> None: ...


def test_handlers_stand_in_order_of_definition_a_base_classs_first() -> None:
    class Child(Base):
        @on(step=1)
        def third(self, event: Event) -> None: ...

    assert list(Child.__handlers__) == ["first", "second", "third"]
    assert list(Child.__timers__) == ["sweep"]
    assert list(Base.__handlers__) == ["first", "second"]


def test_an_override_without_a_decorator_keeps_decorator_and_place() -> None:
    class Child(Base):
        @on(form=3)
        def third(self, event: Event) -> None: ...

        def first(self, event: Event) -> None: ...

        def sweep(self) -> None: ...

    assert list(Child.__handlers__) == ["first", "second", "third"]
    assert Child.__handlers__["first"] == Base.__handlers__["first"]
    assert Child.__timers__ == Base.__timers__


def test_an_override_with_a_decorator_replaces_it() -> None:
    class Child(Base):
        @on(form=9)
        def first(self, event: Event) -> None: ...

        @on(kind="close")
        def sweep(self, event: Event) -> None: ...  # type: ignore[override]

    assert [mark.wanted for mark in Child.__handlers__["first"]] == [{"form": (9,)}]
    assert list(Child.__handlers__) == ["first", "second", "sweep"]
    assert Child.__timers__ == {}


def test_none_takes_a_method_away() -> None:
    class Child(Base):
        first = None  # type: ignore[assignment]

    assert list(Child.__handlers__) == ["second"]


def test_a_mixin_may_bring_handlers() -> None:
    class Mixin:
        @on(kind="close")
        def closed(self, event: Event) -> None: ...

    class Child(Mixin, Base):
        @on(form=5)
        def fifth(self, event: Event) -> None: ...

    assert list(Child.__handlers__) == ["first", "second", "closed", "fifth"]


def test_two_decorators_on_one_method_mean_either() -> None:
    class Both(Plugin[Settings]):
        @on(form=1)
        @on(kind="close", step=[2, 3])
        def check(self, event: Event) -> None: ...

    assert [mark.wanted for mark in Both.__handlers__["check"]] == [
        {"form": (1,)},
        {"step": (2, 3), "kind": ("close",)},
    ]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({}, "@on needs at least one"), ({"form": "321"}, 'a setting is written "settings.NAME"'), ({"form": True}, "True is none"),
        ({"step": 1.5}, "1.5 is none; give a number"), ({"kind": 5}, "give a text"), ({"kind": [5]}, "give a text"), ({"form": []}, "never match"),
    ],
)  # fmt: skip
def test_a_decorator_that_could_never_match_is_refused_where_it_stands(keys: dict[str, Any], error: str) -> None:
    with pytest.raises(TypeError) as raised:
        on(**keys)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda: on(kind_of_form), "@on stands bare on kind_of_form: write @on(…), it takes form, step, kind"),  # type: ignore[call-arg,arg-type]
        (lambda: every(kind_of_form), "@every stands bare on kind_of_form: write @every(…), it takes period"),  # type: ignore[arg-type]
        (lambda: hook(kind_of_form), "@hook stands bare on kind_of_form"),  # type: ignore[call-arg,arg-type]
        (lambda: on(forms=5), "@on has no forms= (did you mean 'form'?); it takes form, step, kind"),  # type: ignore[call-arg]
        (lambda: cron("* * * * *", tzz="UTC"), "@cron has no tzz= (did you mean 'tz'?); it takes when, tz"),  # type: ignore[call-arg]
        (lambda: hook("paid"), "@hook: missing a required argument: 'guard'; it takes name, guard, methods, once"),  # type: ignore[call-arg]
        (
            lambda: on(form=1)(property(kind_of_form)),
            "@on, @cron, @every, @job and @hook stand on a method, and not on",
        ),  # type: ignore[type-var]
        (
            lambda: on_run(),
            "@on_run: missing a required argument: 'hook'; write @on_run above a function, without brackets",
        ),  # type: ignore[call-arg]
    ],
)
def test_a_decorator_used_wrongly_says_what_would_be_right(use: Callable[[], Any], error: str) -> None:
    with pytest.raises(TypeError) as raised:
        use()
    assert str(raised.value).startswith(error)


def kind_of_form(self: Any, event: Event) -> None: ...


def test_one_method_is_a_handler_or_a_timer_and_not_both() -> None:
    with pytest.raises(TypeError, match="one method cannot be two of"):

        class Both(Plugin[Settings]):
            @on(form=1)
            @every("15m")
            def check(self) -> None: ...


def test_timers_take_texts_timedeltas_and_names_of_settings() -> None:
    class Timed(Plugin[Settings]):
        @cron("5 8 * * *", tz="Europe/Moscow")
        def at(self) -> None: ...

        @every(timedelta(minutes=5))
        def often(self) -> None: ...

        @every("settings.period")
        def named(self) -> None: ...

    assert Timed.__timers__ == {
        "at": (TimerMark("cron", "5 8 * * *", "Europe/Moscow"),),
        "often": (TimerMark("every", timedelta(minutes=5)),),
        "named": (TimerMark("every", "settings.period"),),
    }
    with pytest.raises(TypeError):
        every(15)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cron(5)  # type: ignore[arg-type]


def test_a_plugin_has_its_settings_name_log_folder_and_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin = Base.__new__(Base)
    settings = Settings()
    settle(plugin, PluginHome("a", settings, SystemClock(), tmp_path / "deep" / "a", None))
    assert plugin.settings is settings
    assert plugin.bot == "a"
    assert not (tmp_path / "deep").exists()
    assert plugin.folder.stat().st_mode & 0o777 == 0o700
    assert str(plugin.now("Asia/Tokyo").tzinfo) == "Asia/Tokyo"
    assert plugin.now().utcoffset() == timedelta(0)
    for zone, said in [
        ("Europe/Moskow", "did you mean 'Europe/Moscow'?"),
        ("", "'' is not a time zone"),
        (3, "3 is not a"),
    ]:
        with pytest.raises(ValueError, match=re.escape(said)):
            plugin.now(zone)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        plugin.log.info("counted %d", 3, extra={"task": 5})
    record = caplog.records[0]
    assert (record.getMessage(), record.bot, record.task) == ("counted 3", "a", 5)  # type: ignore[attr-defined]
    with pytest.raises(NoLogin, match=r"\[bot:a\] has no Pyrus API"):
        _ = plugin.pyrus


def test_a_plugin_that_overrides_nothing_says_nothing() -> None:
    plugin = Base.__new__(Base)
    assert plugin.open() is None
    assert plugin.close() is None
    assert plugin.handle(None) is None  # type: ignore[arg-type]
