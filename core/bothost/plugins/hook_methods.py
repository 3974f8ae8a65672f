"""Read the hooks of a loaded plugin: their addresses, their guards, and the plugin's functions that a request needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.errors import RequestRefused, StoreError
from bothost.journal.values import check_key
from bothost.plugins.guard_marks import GuardMark
from bothost.plugins.guards import FunctionGuard, GuardRule, OpenGuard, rule_of
from bothost.plugins.handlers import Handler, check_call, of_methods, takes
from bothost.plugins.http import json_of, value_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bothost.plugins.api import HookMark, Plugin


class HookRule(msgspec.Struct, frozen=True):
    """The facts that the host must know of a hook, also of one in a process of its own.

    `accepts`: its requests are journaled and answered 202. `pointer`: where their key stands in the body. `asks`: a function
    of the plugin is asked, for the guard or for the key.
    """

    name: str
    methods: tuple[str, ...]
    guard: GuardRule
    accepts: bool = False
    pointer: str = ""
    asks: bool = False


@dataclass(frozen=True, slots=True)
class HookSpec:
    """A hook: its rule, its method, and the functions that are asked."""

    rule: HookRule
    handler: Handler
    guard: Callable[..., Any] | None = None
    once: Callable[..., Any] | None = None


def hooks(
    plugin: Plugin[Any], marks: Mapping[str, tuple[HookMark, ...]], settings: object, where: str
) -> Iterator[HookSpec]:
    """Yield the hooks of an instance, in order of definition. Raises PluginError."""
    return of_methods(
        plugin, marks, where, "hook", lambda mark, kept, place: _spec(plugin, mark, kept, settings, place)
    )


def warnings(specs: tuple[HookSpec, ...]) -> tuple[str, ...]:
    """List the warnings of `check` and `doctor` about hooks that everybody may call."""
    names = ", ".join(spec.rule.name for spec in specs if isinstance(spec.rule.guard, OpenGuard))
    return (
        (f"everybody may call its hooks {names} (anyone): give them signed() or token() where the caller can",)
        if names
        else ()
    )


def shown_hook(path: str, rule: HookRule) -> dict[str, str]:
    """Describe a hook to an operator."""
    return {
        "hook": rule.name,
        "methods": ",".join(rule.methods),
        "address": f"{path}/{rule.name}",
        "guard": repr(rule.guard),
        "requests": "accepted, run once" if rule.accepts else "answered at once",
    }


def key_text(key: Any) -> str:
    """Return the key of an accepted request as text. Raises RequestRefused."""
    try:
        return check_key(str(key) if type(key) is int else key, "the request's key")
    except StoreError as error:
        raise RequestRefused(str(error)) from None


def pointed_key(rule: HookRule, body: bytes) -> str:
    """Return the key that stands in a body. Raises RequestRefused."""
    return key_text(value_at(json_of(body), rule.pointer))


def _spec(plugin: Plugin[Any], mark: HookMark, kept: Handler, settings: object, where: str) -> HookSpec:
    guard = None if isinstance(mark.guard, GuardMark) else _bound(mark.guard, plugin, f"{where}: the guard")
    once = _bound(mark.once, plugin, f"{where}: once=") if callable(mark.once) else None
    rule = HookRule(
        mark.name,
        mark.methods,
        rule_of(mark.guard, settings, where) if isinstance(mark.guard, GuardMark) else FunctionGuard(),
        accepts=mark.once is not None,
        pointer=mark.once if isinstance(mark.once, str) else "",
        asks=guard is not None or once is not None,
    )
    return HookSpec(rule, kept, guard, once)


def _bound(function: Callable[..., Any], plugin: Plugin[Any], what: str) -> Callable[..., Any]:
    """Return a function of the request, or of the plugin and the request if it takes both."""
    if takes(function, 1):
        return function
    check_call(function, 2, what, "def name(request), or def name(self, request)")
    return partial(function, plugin)
