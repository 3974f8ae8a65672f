"""Diagnose each configured bot without a running host: its section, its plugin, its settings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bothost.clock import SystemClock
from bothost.config.secrets import SecretSources
from bothost.errors import ConfigError, PluginError, Problem
from bothost.operator.failure_hook import find_hook
from bothost.plugins.discovery import find, survey
from bothost.plugins.loading import PluginResources, load
from bothost.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bothost.config import BotConfig, ConfigReading
    from bothost.plugins.discovery import DiscoveredPlugin
    from bothost.plugins.loading import LoadedPlugin


@dataclass(frozen=True, slots=True)
class BotDiagnosis:
    """One bot: its state in one word, and everything that is wrong with it."""

    config: BotConfig
    state: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = field(default=())
    plugged: LoadedPlugin | None = None

    @property
    def reason(self) -> str:
        """Return the problems in one line, each with its key."""
        return "; ".join(f"{one.key}: {one.text}" if one.key else one.text for one in self.problems)


def judge(reading: ConfigReading, folder: Path) -> list[BotDiagnosis]:
    """Diagnose every bot of the configuration, sorted by name. Imports the plugins."""
    found = find()
    bots = [_judge(config, found, reading, folder) for config in reading.bots.values()]
    bots += [
        _misconfigured(config, _judge(config, found, reading, folder), reading) for config in reading.stubs.values()
    ]
    return sorted(bots, key=lambda bot: bot.config.name)


def forms_of_handlers(bot: BotDiagnosis) -> frozenset[int]:
    """Return the forms that the plugin's `@on(form=)` name."""
    routes = bot.plugged.routes if bot.plugged is not None else ()
    return frozenset[int]().union(*(one.forms for route in routes for one in route.conditions if one.forms))


def form_of(bot: BotDiagnosis) -> int | None:
    """Return a form whose tasks the bot answers: of its `forms`, of a handler's @on(form=), of its setting `form` or `forms`."""
    found = set(bot.config.forms or forms_of_handlers(bot))
    if not found and bot.plugged is not None:
        for name in ("form", "forms"):
            value = getattr(bot.plugged.settings, name, None)
            found |= {one for one in (value if isinstance(value, Iterable) else (value,)) if isinstance(one, int)}
    return min(found, default=None)


def host_warnings(reading: ConfigReading, config: str) -> tuple[Problem, ...]:
    """Return the configuration's warnings and one for each hook that cannot be used. Imports the hooks."""
    trouble = find_hook(reading.host.on_failure, SystemClock())[1] if reading.host else ""
    hook = (Problem(trouble, config, section="host", key="on_failure"),) if trouble else ()
    malformed = (Problem(text, config) for text in survey().unreadable)
    return (*reading.warnings, *_in_one_process(reading, config), *hook, *malformed)


def _in_one_process(reading: ConfigReading, config: str) -> Iterator[Problem]:
    """Give one warning that says what `per_host = one` costs, where a host has several processes."""
    names = [bot.name for bot in reading.bots.values() if bot.enabled and bot.per_host == "one"]
    if names and reading.host is not None and reading.host.processes > 1:
        text = (
            f"per_host = one in {listed(names)}: one of the {reading.host.processes} processes does all the work of each, the "
            "others hand it what they get (about a millisecond a delivery), and when it dies events wait until another has "
            "opened the plugin"
        )
        yield Problem(text, config)


def without_login(reading: ConfigReading, config: str) -> tuple[Problem, ...]:
    """Return one warning for all bots whose section names no login."""
    names = [bot.name for bot in reading.bots.values() if bot.enabled and not bot.login]
    if not names:
        return ()
    text = (
        f"no login = bot@… in {listed(names)}: unless deliveries show it, only the process that took "
        "an event can post its late reply, and a restart has Pyrus come again"
    )
    return (Problem(text, config),)


def collisions(judged: list[BotDiagnosis]) -> list[Problem]:
    """Return a problem for each hook whose address belongs to another bot's path."""
    found = []
    for bot in judged:
        for spec in bot.plugged.hooks if bot.plugged is not None else ():
            address = f"{bot.config.path}/{spec.rule.name}"
            for other in judged:
                taken = other.config.path
                if taken.startswith(f"{bot.config.path}/") and f"{address}/".startswith(f"{taken}/"):
                    text = (
                        f"its hook {spec.rule.name!r} would be at {address}, which belongs to [bot:{other.config.name}]"
                    )
                    found.append(_problem(bot.config, text, "path"))
    return found


def _judge(
    config: BotConfig, found: Mapping[str, DiscoveredPlugin], reading: ConfigReading, folder: Path
) -> BotDiagnosis:
    state = reading.host.state if reading.host else folder / "state"
    ground = PluginResources(SystemClock(), state / "plugins" / config.name, None, SecretSources(folder, os.environ))
    try:
        plugged = load(config, found, ground)
    except ConfigError as error:
        return BotDiagnosis(config, "config error", error.problems)
    except PluginError as error:
        return BotDiagnosis(config, "plugin error", (_problem(config, _bare(str(error), config), "plugin"),))
    warnings = tuple(_problem(config, text, "") for text in plugged.warnings)
    return BotDiagnosis(config, "ok" if config.enabled else "off", (), warnings, plugged)


def _misconfigured(config: BotConfig, judged: BotDiagnosis, reading: ConfigReading) -> BotDiagnosis:
    """Add the problems of the plugin's settings to those of the section, so that one check shows all of them."""
    own = reading.broken[config.name]
    known = {(problem.line, problem.key) for problem in own}
    further = [one for one in judged.problems if (one.line, one.key) not in known and one.key]
    return BotDiagnosis(config, "config error", (*own, *(further if config.plugin else ())), judged.warnings)


def _problem(config: BotConfig, text: str, key: str) -> Problem:
    return Problem(text, config.file, config.lines.get(key, config.line), f"bot:{config.name}", key)


def _bare(text: str, config: BotConfig) -> str:
    """Remove the section's name, which the problem shows itself."""
    return text.removeprefix(f"[bot:{config.name}] ")
