"""Say what a call of the author's API takes if its arguments do not fit, or if it is used in another way than it is meant."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    C = TypeVar("C", bound=type)
    F = TypeVar("F", bound=Callable[..., Any])
else:
    C, F = TypeVar("C"), TypeVar("F")

_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def explained(call: F) -> F:
    """Have a function raise a TypeError that names a near keyword, or what it takes, if its arguments do not fit."""
    return _checked(call, call.__qualname__)


def explained_methods(owner: C) -> C:
    """Do so for each public method that a class defines."""
    for name, member in list(vars(owner).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(owner, name, explained(member))
    return owner


def decorator(call: F) -> F:
    """Do so for a decorator with arguments, and if it stands bare on a method."""
    return _checked(call, f"@{call.__qualname__}", may_be_bare=True)


def plain_decorator(call: F) -> F:
    """Do so for a decorator without arguments, `@on_run`, also if it is called as if it had some."""
    name = f"@{call.__qualname__}"
    return _checked(call, name, f"write {name} above a function, without brackets")


def _checked(call: F, name: str, takes: str = "", *, may_be_bare: bool = False) -> F:
    signature = inspect.signature(call)
    keys = [key for key, one in signature.parameters.items() if one.kind in _KINDS and key != "self"]
    is_open = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    takes = takes or f"it takes {', '.join(keys) or 'nothing'}"

    @wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # so pytest shows the author's line
        if may_be_bare and len(args) == 1 and not kwargs and inspect.isroutine(args[0]):
            raise TypeError(f"{name} stands bare on {args[0].__qualname__}: write {name}(…), {takes}")
        for key in () if is_open else kwargs:
            if key not in keys:
                raise TypeError(f"{name} has no {key}={nearest(key, keys)}; {takes}")
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}; {takes}") from None
        return call(*args, **kwargs)

    return cast("F", checked)
