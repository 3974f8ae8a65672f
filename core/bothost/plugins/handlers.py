"""Match events with handlers by the conditions of `@on`, after the settings that these name were read."""

from __future__ import annotations

import contextlib
import inspect
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bothost.errors import PluginError
from bothost.plugins.attribution import place_of_definition
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bothost.plugins.api import HandlerMark, HookMark, JobMark, Plugin
    from bothost.plugins.event import Event

M = TypeVar("M", bound="HookMark | JobMark")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Handler:
    """The callable for an event or a tick. With `is_async` the call runs nothing yet, but returns a coroutine."""

    name: str
    call: Callable[..., Any]
    is_async: bool


def handler(name: str, call: Callable[..., Any]) -> Handler:
    """Return a callable as a handler. A wrapper round an async function looks plain; what it returns is awaited all the same."""
    inner = call
    while isinstance(inner, partial):
        inner = inner.func
    is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004 - asked of the method
    return Handler(name, call, is_async)


@dataclass(frozen=True, slots=True)
class EventCondition:
    """The values of one `@on`; None: not asked for."""

    forms: frozenset[Any] | None = None
    steps: frozenset[Any] | None = None
    kinds: frozenset[Any] | None = None

    def matches(self, event: Event) -> bool:
        """Return whether all that was given fits. An absent `event` is a comment (protocol §2.1)."""
        if self.forms is not None and event.task.form_id not in self.forms:
            return False
        if self.kinds is not None and event.kind not in self.kinds and (event.kind or "comment") not in self.kinds:
            return False
        return self.steps is None or (event.step or event.task.current_step) in self.steps


@dataclass(frozen=True, slots=True)
class HandlerRoute:
    """A handler and its conditions, of which one must match."""

    handler: Handler
    conditions: tuple[EventCondition, ...]


def condition(mark: HandlerMark, settings: object, where: str) -> EventCondition:
    """Return the mark with its settings read. Raises PluginError."""
    wanted = mark.wanted
    return EventCondition(
        _resolved(wanted.get("form"), settings, f"{where}: @on(form=)", int),
        _resolved(wanted.get("step"), settings, f"{where}: @on(step=)", int),
        _resolved(wanted.get("kind"), settings, f"{where}: @on(kind=)", str),
    )


def _resolved(given: tuple[Any, ...] | None, settings: object, where: str, kind: type) -> frozenset[Any] | None:
    if given is None:
        return None
    values: set[Any] = set()
    for one in given:
        found = setting(one, settings, where)
        several = found if isinstance(found, list | tuple | set | frozenset) else (found,)
        for value in several:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise PluginError(
                    f"{where}: {one!r} gives {value!r}, which is not a {'number' if kind is int else 'text'}"
                )
            values.add(value)
    return frozenset(values)


def setting(given: Any, settings: object, where: str) -> Any:
    """Return the value itself, or what `"settings.NAME"` stands for. Raises PluginError for a name the settings do not have."""
    if not isinstance(given, str) or not given.startswith("settings."):
        return given
    name = given.removeprefix("settings.")
    names = getattr(settings, "__struct_fields__", ())
    if name not in names:
        known = ", ".join(names) or "none"
        raise PluginError(f"{where}: there is no setting {name!r}{nearest(name, names)} (there are: {known})")
    return getattr(settings, name)


@contextlib.contextmanager
def standing_at(definition: object) -> Iterator[None]:
    """End a PluginError's text with the line of this method or class, unless it names a line inside of it already."""
    try:
        yield
    except PluginError as error:
        place = "" if error.place else place_of_definition(definition)
        if not place:
            raise
        placed = PluginError(f"{error} ({place})")
        placed.place = place
        raise placed from error.__cause__


def of_methods(
    plugin: Plugin[Any],
    marks: Mapping[str, tuple[M, ...]],
    where: str,
    kind: Literal["hook", "job"],
    make: Callable[[M, Handler, str], T],
) -> Iterator[T]:
    """Yield what `make` makes of each marked method: of its mark, its handler and its place. Raises PluginError.

    Each method takes a hook's request, or the job, and no two have one name.
    """
    seen: dict[str, str] = {}
    for method, those in marks.items():
        call = getattr(plugin, method)
        place = f"{where}.{method}"
        with standing_at(call):
            check_call(call, 1, place, f"def {method}(self, {'request' if kind == 'hook' else 'job'})")
            for mark in those:
                if mark.name in seen:
                    raise PluginError(
                        f"{place}: {seen[mark.name]} is the {kind} {mark.name!r} already; give it another name"
                    )
                seen[mark.name] = method
                yield make(mark, handler(method, call), place)


def check_call(call: Callable[..., Any], arguments: int, what: str, right: str) -> None:
    """Check that it can be called with so many arguments. Raises PluginError if it cannot."""
    if not takes(call, arguments):
        with standing_at(call):
            raise PluginError(f"{what} cannot be called: write {right}")


def takes(call: Callable[..., Any], arguments: int) -> bool:
    """Return whether it can be called with so many arguments."""
    try:
        _signature(call).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, without a signature: only the call itself can tell
    return True


def _signature(call: Callable[..., Any]) -> inspect.Signature:
    """Return its signature. From 3.14 on, reading a signature evaluates the annotations. They may name modules that are imported
    for type checkers only, so they are left unevaluated there.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(call, annotation_format=Format.FORWARDREF)
    return inspect.signature(call)
