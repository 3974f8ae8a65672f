"""Define what authors write plugins with: the base class, and the decorators for events, times, jobs and hooks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from bothost.config.units import time_zone
from bothost.errors import NoLogin, StoreError
from bothost.plugins.attribution import ids_of_run
from bothost.plugins.explained import decorator
from bothost.plugins.guard_marks import SIGNED, TOKEN, GuardMark, signed, token
from bothost.plugins.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping
    from pathlib import Path

    from typing_extensions import TypeVar

    from bothost.clock import Clock
    from bothost.plugins.event import Event
    from bothost.plugins.http import Request
    from bothost.plugins.jobs import Job, Jobs
    from bothost.plugins.store import Store
    from bothost.pyrus.reply.reply import Answer
    from bothost.pyrus_client.api import Pyrus

    F = TypeVar("F", bound=Callable[..., Any])
    S = TypeVar("S", bound=Settings, default=Settings)
    H = TypeVar("H", bound=Callable[[Any, Event], Answer | Awaitable[Answer]])
    R = TypeVar("R", bound=Callable[[Any, Request], Any])
    J = TypeVar("J", bound=Callable[[Any, Job], Answer | Awaitable[Answer]])
    T = TypeVar("T", bound=Callable[[Any], Awaitable[None] | None] | Callable[[Any, "Tick"], Awaitable[None] | None])
else:
    from typing import TypeVar

    F = TypeVar("F")
    S = TypeVar("S", bound=Settings)
    H = TypeVar("H")
    J = TypeVar("J")
    R = TypeVar("R")
    T = TypeVar("T")

_JOB_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HOOK_NAME = re.compile(r"[a-z0-9._~-]+(/[a-z0-9._~-]+)*")
GIVEN = ("settings", "bot", "log", "pyrus", "pyrus_as", "store", "jobs", "folder", "now")
"""What an instance has from the host; a plugin's own member of such a name would hide it."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MARK = "__bothost_marks__"
"""The attribute in which a decorated method carries its marks."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of a timer: when it was `due` (aware, UTC), and why it runs again (`crash`, `manual` …), "" the first time."""

    due: datetime
    rerun: str = ""


@dataclass(frozen=True, slots=True)
class HandlerMark:
    """The arguments of `@on`: key → the values of which one must match, or `"settings.NAME"`."""

    wanted: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class TimerMark:
    """The arguments of `@cron` or `@every`. Each may be `"settings.NAME"`."""

    kind: str
    when: str | timedelta
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class JobMark:
    """The arguments of `@job`."""

    name: str


@dataclass(frozen=True, slots=True)
class HookMark:
    """The arguments of `@hook`."""

    name: str
    guard: GuardMark | Callable[..., Any]
    methods: tuple[str, ...]
    once: Callable[..., Any] | str | None


Mark = HandlerMark | TimerMark | JobMark | HookMark


@decorator
def on(
    *,
    form: int | str | Iterable[int | str] | None = None,
    step: int | str | Iterable[int | str] | None = None,
    kind: str | Iterable[str] | None = None,
) -> Callable[[H], H]:
    """Let a method handle the events that match all of what is given; of several values one must match.

    `step` is the step at which this bot is asked to decide, or if it is asked at none, the task's current one; `kind` is
    Pyrus's `event`. A string `"settings.NAME"` is read from the bot's settings. Of several methods the first one wins.
    """
    given = {"form": form, "step": step, "kind": kind}
    wanted = {key: _several(key, value) for key, value in given.items() if value is not None}
    if not wanted:
        raise TypeError("@on needs at least one of form=, step=, kind=; `handle` takes all other events")
    return _marking(HandlerMark(wanted))


@decorator
def cron(when: str, *, tz: str = "UTC") -> Callable[[T], T]:
    """Run a method at the times of a cron expression, `@cron("5 8 * * *", tz="Europe/Moscow")`; both may be `"settings.NAME"`."""
    if not isinstance(when, str) or not isinstance(tz, str):
        raise TypeError("@cron takes a cron expression and a zone's name, both texts")
    return _marking(TimerMark("cron", when, tz))


@decorator
def every(period: str | timedelta) -> Callable[[T], T]:
    """Run a method at multiples of a period since 1970 UTC: `@every("15m")`, a timedelta, or `"settings.NAME"`."""
    if not isinstance(period, str | timedelta):
        raise TypeError('@every takes a period such as "15m" or a timedelta')
    return _marking(TimerMark("every", period))


@decorator
def job(name: str) -> Callable[[J], J]:
    """Let a method run as the job of this name, which `self.jobs.add(name, …)` puts off to a later time."""
    if not isinstance(name, str) or not _JOB_NAME.fullmatch(name):
        raise TypeError(f'@job takes a name of letters, digits, "_" and "-", such as @job("nudge"), not {name!r:.80}')
    return _marking(JobMark(name))


@decorator
def hook(
    name: str,
    guard: GuardMark | Callable[..., Any],
    *,
    methods: Iterable[str] = ("POST",),
    once: Callable[..., Any] | str | None = None,
) -> Callable[[R], R]:
    """Let a method answer HTTP requests to the bot's path, a slash and this name.

    `guard` says who may call: `signed(…)`, `token(…)`, `anyone`, or a function of the Request. Without `once` the caller waits
    for the answer. With `once`, a function of the Request or a JSON pointer that gives the request's key, the request is
    journaled and answered 202, and runs once.
    """
    if not isinstance(name, str) or not _HOOK_NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise TypeError(
            f"@hook({name!r:.80}): a name is one or more segments of a-z, 0-9, '.', '_', '~' and '-', such as paid"
        )
    if guard in (signed, token) or not (isinstance(guard, GuardMark) or callable(guard)):
        raise TypeError(f"@hook({name!r}) needs a guard: {SIGNED}, {TOKEN}, anyone, or a function of the request")
    several = tuple(methods) if isinstance(methods, Iterable) and not isinstance(methods, str) else (methods,)
    wrong = [one for one in several if one not in METHODS]
    if wrong or not several:
        raise TypeError(f"@hook({name!r}): methods are of {', '.join(METHODS)}, not {wrong or 'none'}")
    if not (once is None or callable(once) or (isinstance(once, str) and once.startswith("/"))):
        raise TypeError(f'@hook({name!r}): once is a function of the request or a JSON pointer such as "/payment/id"')
    return _marking(HookMark(name, guard, several, once))


def _several(key: str, value: Any) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for one in values:
        if isinstance(one, bool) or not isinstance(one, str | int) or (key == "kind" and not isinstance(one, str)):
            raise TypeError(f"@on({key}=): {one!r} is none; give a {'text' if key == 'kind' else 'number'}, or several")
        if key != "kind" and isinstance(one, str) and not one.startswith("settings."):
            raise TypeError(f'@on({key}=): {one!r} is not a number; a setting is written "settings.NAME"')
    if not values:
        raise TypeError(f"@on({key}=): an empty list would never match")
    return values


def _marking(mark: Mark) -> Callable[[Any], Any]:
    def decorate(method: Any) -> Any:
        if not isinstance(method, staticmethod | classmethod) and not callable(method):
            raise TypeError(f"@on, @cron, @every, @job and @hook stand on a method, and not on {method!r:.80}")
        marks = (mark, *marks_of(method))
        if len({type(one) for one in marks}) > 1:
            raise TypeError(
                f"{_name(method)}: one method cannot be two of a handler (@on), a timer (@cron, @every), a job (@job) and a hook (@hook)"
            )
        setattr(method, MARK, marks)
        return method

    return decorate


def marks_of(member: object) -> tuple[Mark, ...]:
    """Return the marks that a member of a class carries itself, uppermost decorator first."""
    found = getattr(member, "__dict__", {}).get(MARK, ())
    return found if isinstance(found, tuple) else ()


def _name(method: object) -> str:
    return getattr(method, "__qualname__", None) or repr(method)


@dataclass(frozen=True, slots=True)
class PluginHome:
    """The objects that the host gives an instance of a plugin."""

    bot: str
    settings: Any
    clock: Clock
    folder: Path
    pyrus: Pyrus | None
    store: Store | None = None
    jobs: Jobs | None = None


class BotLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that puts the bot's name on each line and, while a handler runs, the ids of its event and task."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the bot and the run's ids to what the line itself brings."""
        kwargs["extra"] = {**ids_of_run(), **(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class Plugin(Generic[S]):
    """Base of a plugin: each bot that names it has an instance of its own. It has no constructor; it starts in `open`.

    `class Approvals(Plugin[Rules])` has its settings typed as `Rules`. Handlers and timers may be plain or async: plain ones
    run in threads, as many at once as the bot has permits here on this one instance.
    """

    __home: PluginHome
    __timers__: Mapping[str, tuple[TimerMark, ...]] = {}
    """Timer methods by name, in order of definition."""
    __handlers__: Mapping[str, tuple[HandlerMark, ...]] = {}
    """Handler methods by name, in order of definition, a base class's first."""
    __jobs__: Mapping[str, tuple[JobMark, ...]] = {}
    """Job methods by name, in order of definition."""
    __hooks__: Mapping[str, tuple[HookMark, ...]] = {}
    """Hook methods by name, in order of definition."""

    def __init_subclass__(cls, **keys: Any) -> None:
        super().__init_subclass__(**keys)
        marks: dict[str, tuple[Mark, ...]] = {}
        for base in reversed(cls.__mro__):
            _gather(vars(base), marks)
        cls.__handlers__ = _only(HandlerMark, marks)
        cls.__timers__ = _only(TimerMark, marks)
        cls.__jobs__ = _only(JobMark, marks)
        cls.__hooks__ = _only(HookMark, marks)

    @property
    def settings(self) -> S:
        """Return the bot's settings."""
        return self.__home.settings  # type: ignore[no-any-return]

    @property
    def bot(self) -> str:
        """Return the bot's name, as in its section of bots.ini."""
        return self.__home.bot

    @property
    def log(self) -> BotLog:
        """Return a logger whose lines carry the bot's name and, while a handler runs, the ids of its event and task."""
        return BotLog(logging.getLogger("bothost.plugin"), {"bot": self.__home.bot})

    @property
    def pyrus(self) -> Pyrus:
        """Return the Pyrus API, as this bot; for timers, and for handlers beside `event.pyrus`. Raises NoLogin if there is
        none.
        """
        if self.__home.pyrus is None:
            raise NoLogin(f"[bot:{self.__home.bot}] has no Pyrus API here: set its login")
        return self.__home.pyrus

    def pyrus_as(self, account: str) -> Pyrus:
        """Return the Pyrus API as another account, one of the bot's key `accounts`. Raises NoLogin if it is none of them."""
        return self.pyrus.as_account(account)

    @property
    def store(self) -> Store:
        """Return the bot's store, whose values outlive the process and are the same on every host. Raises StoreError if none."""
        if self.__home.store is None:
            raise StoreError(f"[bot:{self.__home.bot}] has no store here: there is no journal")
        return self.__home.store

    @property
    def jobs(self) -> Jobs:
        """Return the work that this bot has put off to a later time. Raises JournalError if there is no journal."""
        if self.__home.jobs is None:
            raise StoreError(f"[bot:{self.__home.bot}] has no jobs here: there is no journal")
        return self.__home.jobs

    @property
    def folder(self) -> Path:
        """Return a folder of this bot's own, made on first use. On several hosts each has its own."""
        self.__home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.__home.folder

    def now(self, zone: str = "UTC") -> datetime:
        """Return the host's clock, aware, in this zone; in the harness the virtual one. Raises ValueError for no zone."""
        return self.__home.clock.now().astimezone(time_zone(zone))

    def open(self) -> Awaitable[None] | None:
        """Prepare the plugin. The host calls it once in each process, before the first event. An exception keeps the bot out of
        service, visibly.
        """
        return None

    def close(self) -> Awaitable[None] | None:
        """Release what `open` has taken. The host calls it once, after the last event."""
        return None

    def handle(self, event: Event) -> Answer | Awaitable[Answer]:
        """Answer an event that no `@on` matches. Unless overridden, it gives no reply."""
        del event
        return None


def settle(plugin: Plugin[Any], plugin_home: PluginHome) -> None:
    """Give an instance the host's objects, before its `open` is called."""
    plugin._Plugin__home = plugin_home  # type: ignore[attr-defined]


def _gather(members: Mapping[str, Any], marks: dict[str, tuple[Mark, ...]]) -> None:
    """Collect the marked methods. An override with marks replaces the overridden method. One without marks keeps mark and place;
    None removes the method.
    """
    for name, member in members.items():
        own = marks_of(member)
        if own:
            marks[name] = own
        elif name in marks and member is None:
            del marks[name]


def _only(kind: type, marks: Mapping[str, tuple[Mark, ...]]) -> dict[str, Any]:
    return {name: those for name, those in marks.items() if isinstance(those[0], kind)}
