"""Parts of a task that no JSON value can break: lax to the decoder, strict on reading.

A part is declared once, as an annotated class with its true types. `@forgiving` makes a msgspec Struct of it whose
members take any JSON value, so that decoding never refuses one, and replaces each member's descriptor by one that checks
on reading (descriptors.py): a scalar of the wrong type is None, wrong items of a list are left out, a part that must be there
is an empty one, which is false. The decoder fills the slots in C; only what is read pays.

What an annotation may be, and what a missing or wrong value reads as:

- `int | None`, `str | None`, `bool | None`; `date | None`, `datetime | None` (from text); `Digits` (a whole number, also
  as text); `Json` (any value, read-only): None
- `P | None` for a part P: None; `P`: an empty part
- `tuple[P, ...]`, `tuple[int, ...]`, `tuple[tuple[P, ...], ...]`: `()`
- `Sequence[P]`, decoded one by one when touched: `()`
- `Annotated[..., "key"]` where JSON's key is not the name
- `Hidden`: no key of JSON; ours, put there by `descriptors.fill`

A part with a hidden `source` keeps the bytes it was read from, and lists of it are decoded when first touched.
"""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

import msgspec

from bothost.pyrus.model import descriptors
from bothost.pyrus.model.descriptors import Cached, Derived, HiddenValue, Member, Nested, Scalar
from bothost.pyrus.raw_json import read_only
from bothost.pyrus.scalars import day, instant, whole

P = TypeVar("P")

_DIGITS, _JSON, _HIDDEN = "\0digits", "\0json", "\0hidden"
Digits = Annotated[int | None, _DIGITS]
Json = Annotated[Any, _JSON]
Hidden = Annotated[Any, _HIDDEN]

_ODD = list[Any] | str | int | float | bool | None
"""Values that may stand where an object belongs. `dict` is not among them because any object is taken for the part."""
_TAKES: dict[str, Callable[[Any], Any]] = {_DIGITS: whole, _JSON: read_only}
_PARSERS: dict[type, Callable[[object], Any]] = {date: day, datetime: instant}
_PYTHONS_OWN = frozenset(
    ("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__dict__", "__weakref__")
)
_TELLING = ("id", "type", "code", "name", "email", "approval_choice", "ids", "names", "text")


class _MemberPlan(msgspec.Struct, frozen=True):
    """One member: the type it is decoded as (`lax`), the maker of its descriptor (`reader`), its key in JSON ("": its name)."""

    lax: Any
    reader: Callable[[Any], Any]
    key: str = ""


class _PartMeta(msgspec.StructMeta):
    """Keeps from `help` how a part is made, because only the host makes one."""

    __signature__ = property(lambda _part: inspect.Signature())


class _Part(msgspec.Struct, metaclass=_PartMeta, frozen=True): ...


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False)
def forgiving(declared: type[P]) -> type[P]:
    """Return the Struct for a class of annotations; its methods and properties are kept."""
    hints = get_type_hints(declared, include_extras=True)
    plans = {name: _plan(hint) for name, hint in hints.items()}
    made: Any = _PartMeta(
        declared.__name__,
        (_Part,),
        _COMMON
        | {name: value for name, value in vars(declared).items() if name not in _PYTHONS_OWN}
        | {"__annotations__": {name: plan.lax for name, plan in plans.items()}, **dict.fromkeys(plans)},
        rename={name: _ours(name) if plan.key == _HIDDEN else plan.key for name, plan in plans.items() if plan.key},
        frozen=True,
        kw_only=True,
        gc=False,  # no part leads back to itself
        eq=False,
    )
    made.__slot_of__ = {name: vars(made)[name] for name in plans}
    made.__shown__ = tuple(name for name, plan in plans.items() if plan.key != _HIDDEN and plan.lax is not msgspec.Raw)
    for name, plan in plans.items():
        member = plan.reader(made.__slot_of__[name])
        if isinstance(member, Member):
            member.told = (declared, name)
        setattr(made, name, member)
    return made  # type: ignore[no-any-return]


def _ours(name: str) -> str:
    return f"bothost: {name}"  # a body that has this key all the same changes nothing: see `Hidden`


def _plan(hint: Any) -> _MemberPlan:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _noted(*args)
    if _is_part(hint):
        return _MemberPlan(hint | _ODD, functools.partial(Nested, kind=hint, empty=hint()))
    if origin is tuple:
        return _listed(args[0])
    if origin is Sequence:
        return _MemberPlan(_list_of(msgspec.Raw), _kept(descriptors.touched, args[0]))
    (kind,) = (arg for arg in args if arg is not types.NoneType)
    if _is_part(kind):
        return _MemberPlan(kind | _ODD, functools.partial(Nested, kind=kind, empty=None))
    if kind in _PARSERS:
        return _MemberPlan(Any, functools.partial(Derived, take=_PARSERS[kind]))
    return _MemberPlan(Any, functools.partial(Scalar, kind=kind))


def _noted(inner: Any, *notes: str) -> _MemberPlan:
    if notes[0] == _HIDDEN:
        return _MemberPlan(Any, HiddenValue, _HIDDEN)
    key = notes[-1] if notes[-1] not in _TAKES else ""
    if notes[0] in _TAKES:
        return _MemberPlan(Any, functools.partial(Derived, take=_TAKES[notes[0]]), key)
    if inner == (msgspec.Raw | None):
        return _MemberPlan(msgspec.Raw, lambda slot: slot, key)
    plan = _plan(inner)
    return _MemberPlan(plan.lax, plan.reader, key)


def _listed(kind: Any) -> _MemberPlan:
    if get_origin(kind) is tuple:
        part = get_args(kind)[0]
        return _MemberPlan(_list_of(_list_of(part | _ODD)), _kept(descriptors.rows, part))
    if not _is_part(kind):
        return _MemberPlan(Any, _kept(descriptors.parts, kind))
    if descriptors.keeps_source(kind):
        return _MemberPlan(_list_of(msgspec.Raw), _kept(descriptors.sourced, kind))
    return _MemberPlan(_list_of(kind | _ODD), _kept(descriptors.parts, kind))


def _kept(make: Callable[[Any, Any], Any], kind: Any) -> Callable[[Any], Any]:
    return functools.partial(Cached, make=functools.partial(make, kind), raw=(list,), empty=())


def _list_of(kind: Any) -> Any:
    return Union[list[kind], dict, str, int, float, bool, None]  # noqa: UP007 - `|` does not take a variable's list


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_something(part: Any) -> bool:
    return any(map(_says, (getattr(part, name) for name in part.__shown__)))


def _says(value: object) -> bool:
    """Return whether a value says something. False, 0 and "" do; None, an empty list and an empty part do not."""
    return bool(value) if isinstance(value, msgspec.Struct | tuple) else value is not None


def _show(part: Any) -> str:
    """Return a few words: a part's repr stands in logs and test reports, and a task holds thousands of values."""
    values = ((name, getattr(part, name, None)) for name in _TELLING)
    shown = (f"{name}={value[:40] if isinstance(value, str) else value!r}" for name, value in values if value)
    return f"{type(part).__name__}({', '.join(shown)})"


def _equal(part: Any, other: Any) -> Any:
    if type(part) is not type(other):
        return NotImplemented
    if "source" in part.__slot_of__:
        return bool(part.raw == other.raw)
    return all(getattr(part, name) == getattr(other, name) for name in part.__shown__)


def _differ(part: Any, other: object) -> bool:
    return not part == other  # noqa: SIM201 - Struct's own `!=` goes by identity


def _hash(part: Any) -> int:
    return hash((type(part), getattr(part, "id", None)))


_COMMON: dict[str, Any] = {
    "__bool__": _is_something,
    "__repr__": _show,
    "__eq__": _equal,
    "__ne__": _differ,
    "__hash__": _hash,
}
