"""Find the configuration, bot or secret that a command line names, and suggest similar names."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bothost.config import read
from bothost.config.secrets import SecretSources, Unresolved
from bothost.config.units import seconds
from bothost.errors import ConfigError, UsageError
from bothost.text import listed, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bothost.config import BotConfig, ConfigReading, HostConfig
    from bothost.errors import Problem

DAY = re.compile(r"\d{4}-")
"""Begins a day, which no age does."""


TASK = click.IntRange(1, 2**63 - 1)
"""The numbers that a task can have. No journal holds larger ones."""


class StatusChoice(click.Choice[str]):
    """A choice of states that suggests the nearest one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Add the nearest state to click's message."""
        return f"{super().get_invalid_choice_message(value, ctx)}{nearest(str(value), self.choices)}"


def completed_config(context: click.Context) -> str:
    """Return the file that a command line names which is being completed: a shell asks before options have their defaults."""
    return context.params.get("config") or os.environ.get("BOTHOST_CONFIG") or "bots.ini"


def complete_bot(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return for a shell the names in the configuration that begin like this, right sections and wrong ones."""
    reading = read(completed_config(context))
    return sorted(name for name in {*reading.bots, *reading.broken} if name.startswith(begun))


bot_argument = click.argument("bot", shell_complete=complete_bot)


def read_existing(path: str) -> ConfigReading:
    """Read the configuration as far as it is right. Raises ConfigError if there is no such file."""
    reading = read(path)
    if not reading.found:
        raise ConfigError(reading.problems)
    return reading


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by the lines of the file."""
    return tuple(sorted(problems, key=lambda problem: problem.line))


def host_of(reading: ConfigReading) -> HostConfig:
    """Return [host]. Raises ConfigError if it is wrong."""
    if reading.host is None:
        raise ConfigError(in_order(reading.problems))
    return reading.host


def bot_named(name: str, reading: ConfigReading) -> BotConfig:
    """Return the bot of a name. Raises UsageError with similar names, ConfigError if its section is wrong."""
    if name in reading.bots:
        return reading.bots[name]
    if name in reading.broken:
        raise ConfigError(in_order(reading.broken[name]))
    raise no_such_bot(name, reading)


def check_there(name: str, reading: ConfigReading) -> None:
    """Check that bots.ini has a section for this bot, right or wrong. Raises UsageError."""
    if name not in reading.bots and name not in reading.broken:
        raise no_such_bot(name, reading)


def no_such_bot(name: str, reading: ConfigReading) -> UsageError:
    """Return the error for a name that bots.ini does not have."""
    names = sorted({*reading.bots, *reading.broken})
    there = f"there are {listed(names)}" if names else "it has no [bot:NAME] at all"
    return UsageError(f"no bot {name!r} in the configuration{nearest(name, names)}: {there}")


def given_secret(text: str, folder: Path) -> bytes:
    """Read a secret from the command line: env:NAME, file:PATH or the value itself. Raises UsageError."""
    try:
        secret = SecretSources(folder, os.environ).resolve(text)
    except Unresolved as error:
        raise UsageError(f"--secret: {error}") from None
    if not secret:
        raise UsageError("--secret is empty: write env:NAME, file:PATH or the key itself")
    return secret


def moment(option: str, age: str | None) -> Callable[[float], float | None]:
    """Return what gives the moment in epoch seconds that an age ("2h") or a day in UTC means; None for None. Raises UsageError.

    An age is counted back from the time that it is given, which is the journal's: this machine's clock may be another.
    """
    if age is None:
        return lambda _now: None
    if DAY.match(age):
        try:
            found = datetime.fromisoformat(age)
            day = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        except ValueError as error:
            raise UsageError(f"{option}: {error}; write a day in UTC as 2026-01-31") from None
        return lambda _now: day
    try:
        past_s = duration(option, age)
    except UsageError as error:
        raise UsageError(f"{error}; or write a day in UTC, such as 2026-01-31") from None
    return lambda now: now - past_s


def duration(option: str, text: str) -> float:
    """Return the seconds of a duration such as "30s". Raises UsageError."""
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
