"""Load plugins. A broken one raises an error that names plugin, fault and place, and affects no other bot."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from bothost.config import HOST_BOT_KEYS
from bothost.errors import BothostError, PluginError
from bothost.plugins import hook_methods
from bothost.plugins.api import GIVEN, Plugin, PluginHome, marks_of, settle
from bothost.plugins.attribution import innermost_of, place_of_definition
from bothost.plugins.discovery import DiscoveredPlugin, choose, find, survey
from bothost.plugins.handlers import Handler, HandlerRoute, check_call, condition, handler, standing_at
from bothost.plugins.hook_methods import HookSpec, hooks
from bothost.plugins.job_methods import JobSpec, jobs
from bothost.plugins.jobs import Jobs
from bothost.plugins.settings import Settings, SettingsSource, fill, keys, no_settings, secrets_of
from bothost.plugins.timers import TimerSpec, timers
from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.config.secrets import SecretSources
    from bothost.plugins.event import Event
    from bothost.plugins.store import Store
    from bothost.pyrus_client.api import Pyrus

__all__ = [
    "DiscoveredPlugin",
    "Handler",
    "LoadedPlugin",
    "PluginResources",
    "TimerSpec",
    "find",
    "load",
    "survey",
    "trouble",
]


@dataclass(frozen=True, slots=True)
class PluginResources:
    """The host's objects for a bot's plugin: the clock, a folder of its own, its client of Pyrus, and the source of its settings."""

    clock: Clock
    folder: Path
    pyrus: Pyrus | None
    sources: SecretSources
    store: Store | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPlugin:
    """A bot's plugin, loaded: an instance of its own, with its settings, its handlers in order and its timers."""

    name: str
    distribution: str
    version: str
    instance: Any
    """The `Plugin`, or the function."""
    fallback: Handler
    settings: Settings | None = None
    routes: tuple[HandlerRoute, ...] = ()
    timers: tuple[TimerSpec, ...] = ()
    opening: Handler | None = None
    closing: Handler | None = None
    warnings: tuple[str, ...] = ()
    """The warnings that `check` shows beside errors."""
    store: Store | None = None
    jobs: tuple[JobSpec, ...] = ()
    hooks: tuple[HookSpec, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The values of its settings that nobody may see."""

    def handler_for(self, event: Event) -> Handler:
        """Return the first handler whose conditions match; else `handle`, or the function."""
        for route in self.routes:
            for one in route.conditions:
                if one.matches(event):
                    return route.handler
        return self.fallback

    def hook(self, name: str) -> HookSpec | None:
        """Return the hook of this name."""
        return next((spec for spec in self.hooks if spec.rule.name == name), None)

    def timer(self, name: str) -> TimerSpec | None:
        """Return the timer of this name."""
        return next((spec for spec in self.timers if spec.name == name), None)


def load(config: BotConfig, found: Mapping[str, DiscoveredPlugin], resources: PluginResources) -> LoadedPlugin:
    """Import a bot's plugin, fill its settings and make its instance. Raises PluginError and ConfigError."""
    who = f"[bot:{config.name}] plugin {config.plugin!r}"
    chosen = choose(config.name, config.plugin, found)
    try:
        target = _imported(chosen, who)
        with standing_at(target):
            if inspect.isclass(target):
                return _with_class(_checked_class(target, who), chosen, config, resources)
            return replace(_with_function(target, chosen, config, who), store=resources.store)
    except BothostError:
        raise
    except BaseException as error:  # the plugin's own code runs here: its settings' class, a property, a metaclass
        raise PluginError(f"{who} cannot be loaded: {_what(error)}") from error


def trouble(found: DiscoveredPlugin) -> str:
    """Import an installed plugin and return why it cannot be used; "" if it can."""
    if found.rivals:
        others = " and ".join((found.distribution, *found.rivals))
        return f"{others} both offer it: uninstall all but one of them"
    try:
        _imported(found, f"the plugin {found.name!r}")
    except PluginError as error:
        return str(error)
    return ""


def _imported(chosen: DiscoveredPlugin, who: str) -> Any:
    try:
        return chosen.load()
    except BaseException as error:  # the plugin's own code: whatever its import raises is this bot's trouble only
        offered = f" ({chosen.distribution} {chosen.version}, {chosen.target})" if chosen.distribution else ""
        told = str(error) if isinstance(error, PluginError) else _what(error)
        raise PluginError(f"{who}{offered} cannot be imported: {told}") from error


def _what(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    place = innermost_of(error.__traceback__)
    return said(error) + (f" ({place})" if place else "")


def _checked_class(target: Any, who: str) -> type[Plugin[Any]]:
    if not issubclass(target, Plugin) or target is Plugin:
        raise PluginError(f"{who} is the class {target.__qualname__}, which is not a subclass of bothost.Plugin")
    if target.__init__ is not object.__init__:
        raise PluginError(f"{who}: {target.__qualname__} has a constructor (__init__); a plugin starts in `open`")
    if taken := [name for name in GIVEN if getattr(target, name) is not getattr(Plugin, name)]:
        raise PluginError(
            f"{who}: {target.__qualname__} defines {', '.join(taken)}, which every plugin has from bothost; use another name"
        )
    if missing := getattr(target, "__abstractmethods__", None):
        raise PluginError(f"{who}: {target.__qualname__} leaves out {', '.join(sorted(missing))}")
    kept: type[Plugin[Any]] = target
    return kept


def _settings_class(cls: type[Plugin[Any]], who: str) -> type[Settings] | None:
    """Return `Rules` of `Plugin[Rules]`, wherever in the line of classes it stands, or a nested class `Settings`.

    Raises PluginError if something else is given as settings.
    """
    others: list[Any] = []
    for given in _given_as_settings(cls):
        if inspect.isclass(given) and issubclass(given, Settings):
            return given if given is not Settings else None
        others.append(given)
    if others:
        name = getattr(others[0], "__name__", None) or getattr(others[0], "__forward_arg__", None) or repr(others[0])
        raise PluginError(
            f"{who}: {cls.__qualname__} names {name} as its settings, which is not a subclass of bothost.Settings: "
            f"write `class {name.rpartition('.')[2]}(Settings):` and give that class itself"
        )
    return None


def _given_as_settings(cls: type[Plugin[Any]]) -> Iterator[Any]:
    """Yield what the line of classes gives as settings. A type variable gives nothing."""
    for base in cls.__mro__:
        nested = vars(base).get("Settings")
        if inspect.isclass(nested):
            yield nested
        for given in vars(base).get("__orig_bases__", ()):
            origin = get_origin(given)
            if inspect.isclass(origin) and issubclass(origin, Plugin):
                yield from (one for one in get_args(given) if not isinstance(one, TypeVar))


def _with_class(
    cls: type[Plugin[Any]], chosen: DiscoveredPlugin, config: BotConfig, resources: PluginResources
) -> LoadedPlugin:
    who = f"[bot:{config.name}] plugin {config.plugin!r}"
    settings = _settings(_settings_class(cls, who), config, resources.sources, who)
    plugin = cls.__new__(cls)
    settle(plugin, _home_of(cls, config.name, settings, resources))
    where = f"{who}: {cls.__qualname__}"
    routes = []
    for name, marks in cls.__handlers__.items():
        kept = handler(name, getattr(plugin, name))
        with standing_at(kept.call):
            check_call(kept.call, 1, f"{where}.{name}", f"def {name}(self, event)")
            routes.append(HandlerRoute(kept, tuple(condition(mark, settings, f"{where}.{name}") for mark in marks)))
    specs = tuple(timers(plugin, cls.__timers__, settings, where))
    specs_of_hooks = tuple(hooks(plugin, cls.__hooks__, settings, where))
    fallback = handler("handle", plugin.handle)
    check_call(fallback.call, 1, f"{where}.handle", "def handle(self, event)")
    check_call(plugin.open, 0, f"{where}.open", "def open(self)")
    check_call(plugin.close, 0, f"{where}.close", "def close(self)")
    return LoadedPlugin(
        chosen.name,
        chosen.distribution,
        chosen.version,
        plugin,
        fallback,
        settings,
        tuple(routes),
        specs,
        opening=handler("open", plugin.open) if cls.open is not Plugin.open else None,
        closing=handler("close", plugin.close) if cls.close is not Plugin.close else None,
        warnings=(*_idle(cls), *_warnings(specs, config), *hook_methods.warnings(specs_of_hooks)),
        store=resources.store,
        jobs=tuple(jobs(plugin, cls.__jobs__, where)),
        hooks=specs_of_hooks,
        secrets=tuple(secrets_of(settings)),
    )


def _home_of(cls: type[Plugin[Any]], bot: str, settings: Settings | None, resources: PluginResources) -> PluginHome:
    store = resources.store
    names = frozenset(mark.name for those in cls.__jobs__.values() for mark in those)
    own_jobs = Jobs(store.data, store.call_loop, names) if store is not None else None
    return PluginHome(bot, settings or Settings(), resources.clock, resources.folder, resources.pyrus, store, own_jobs)


def _settings(cls: type[Settings] | None, config: BotConfig, sources: SecretSources, who: str) -> Settings | None:
    place = SettingsSource(config.plugin, f"bot:{config.name}", config.file, config.lines, config.line)
    if cls is None:
        no_settings(config.settings, place, HOST_BOT_KEYS)
        return None
    names = keys(cls)
    dotted = [name for name in names if "." in name]
    if dotted:
        raise PluginError(
            f"{who}: its settings {', '.join(dotted)} hold a point, which later keys of the host's own have"
        )
    taken = sorted(HOST_BOT_KEYS.intersection(names))
    if taken:
        raise PluginError(
            f"{who}: its settings {', '.join(taken)} have names of the host's own keys, which a bot's section gives to the host: "
            f"rename them in {cls.__qualname__}"
        )
    return fill(cls, config.settings, place, sources, HOST_BOT_KEYS)


def _idle(cls: type[Plugin[Any]]) -> tuple[str, ...]:
    if cls.handle is not Plugin.handle or cls.__handlers__ or cls.__timers__ or cls.__jobs__ or cls.__hooks__:
        return ()
    return (
        f"{cls.__qualname__} does nothing: it has no `handle` and no method with @on, @cron, @every, @job or @hook "
        f"({place_of_definition(cls)})",
    )


def _warnings(specs: tuple[TimerSpec, ...], config: BotConfig) -> tuple[str, ...]:
    if not specs or config.login:
        return ()
    names = ", ".join(spec.name for spec in specs)
    return (f"has timers ({names}) and no login: they cannot call Pyrus before a delivery has told the bot's login",)


def _with_function(target: Any, chosen: DiscoveredPlugin, config: BotConfig, who: str) -> LoadedPlugin:
    if not callable(target) or isinstance(target, Plugin):
        raise PluginError(
            f"{who} is {_kind(target)}; the entry point must name a function or a subclass of bothost.Plugin"
        )
    if marks_of(target):
        raise PluginError(
            f"{who}: @on, @cron, @every, @job and @hook are for methods of a bothost.Plugin, not for a function"
        )
    name = getattr(target, "__name__", config.plugin)
    check_call(target, 1, f"{who}: {name}", f"def {name}(event)")
    _settings(None, config, None, who)  # type: ignore[arg-type]  # a function has none to read
    return LoadedPlugin(chosen.name, chosen.distribution, chosen.version, target, handler(name, target))


def _kind(target: Any) -> str:
    if isinstance(target, Plugin):
        return f"an instance of {type(target).__qualname__}"
    return (
        f"{target!r:.60}" if target is None or isinstance(target, str | int | float) else f"a {type(target).__name__}"
    )
