"""Read a forgiving part's members: one descriptor per kind, over the slot that the decoder filled.

None of them has a `__set__` because the Structs are frozen. A value made on reading is put back into the slot, so a part
read twice is the same part. Two threads that read it first at the same time both make it, and one of the two stays.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec

from bothost.pyrus.raw_json import UNREADABLE, mended, utf8

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P")


def read(part: type[P], source: bytes | msgspec.Raw) -> P | None:
    """Return the part that this JSON shows, or None if it is not an object."""
    wanted: Any = part
    decode, kept = _reading(wanted)
    text = bytes(source)
    if not text.isascii():
        text = utf8(text)
    try:
        found = decode(text)
    except UNREADABLE:
        try:
            found = decode(mended(text))
        except UNREADABLE:
            return None
    if kept is not None:
        kept.__set__(found, (text,))
    return found  # type: ignore[no-any-return]


@functools.cache
def _reading(part: Any) -> tuple[Callable[[bytes], Any], Any]:
    """Return the part's decoder, and the slot for its source if the part keeps it."""
    return msgspec.json.Decoder(part, float_hook=float).decode, part.__slot_of__.get("source")


def keeps_source(part: type) -> bool:
    """Return whether the part has a hidden member for the bytes it was read from."""
    return "source" in part.__slot_of__  # type: ignore[attr-defined]


def empty(part: type[P]) -> P:
    """Return a part of which Pyrus sent nothing; it is false."""
    return part()


def fill(part: object, name: str, value: object) -> None:
    """Put a value into a hidden member, past the frozen Struct."""
    type(part).__slot_of__[name].__set__(part, (value,))  # type: ignore[attr-defined]


def slot(part: type, name: str) -> Any:
    """Return the descriptor of the unchecked value that the decoder put there; it costs less than a checked read."""
    return part.__slot_of__[name]  # type: ignore[attr-defined]


class MemberDocumentation:
    """The `__doc__` of a member's descriptor: the text below its declaration. The source is read when somebody asks for it."""

    def __get__(self, member: Member | None, owner: type) -> str | None:
        if member is None:
            return None
        declared, name = member.told
        return documentation(declared).get(name, ("", ""))[1]


@functools.cache
def documentation(declared: type) -> dict[str, tuple[str, str]]:
    """Return type and text of each member that a class declares; nothing if its source cannot be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(declared)))
    except (OSError, TypeError, SyntaxError):
        return {}
    (body,) = (
        node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == declared.__name__
    )
    found = {}
    for node, text in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = ast.get_docstring(ast.Module([text], [])) if isinstance(text, ast.Expr) else ""
            found[node.target.id] = _shown_type(node.annotation), said or ""
    return found


class SlotTexts(dict[str, str]):
    """Tells `help` about a Struct's plain members, as the class's `__slots__`: `inspect.getdoc` looks for it there.

    The source is read when somebody asks, so it has no items before.
    """

    def __init__(self, declared: type) -> None:
        super().__init__()
        self._declared = declared

    def __contains__(self, name: object) -> bool:
        return name in documentation(self._declared)

    def __getitem__(self, name: str) -> str:
        return ": ".join(documentation(self._declared)[name])


def _shown_type(annotation: ast.expr) -> str:
    """Return a type as authors write it, without what only the decoder reads of it."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        annotation = annotation.slice.elts[0]
    return {"Digits": "int | None", "Json": "Any", "Hidden": "bothost's own"}.get(text := ast.unparse(annotation), text)


class Member:
    """A descriptor over a slot. `told` is the class that declares it, and its name there."""

    __slots__ = ("slot", "told")
    told: tuple[type, str]

    def __repr__(self) -> str:
        declared, name = self.told
        return f"<{documentation(declared).get(name, ('?', ''))[0]}>"


class Scalar(Member):
    """A value of just this type (a bool is no int), else None."""

    __slots__ = ("kind",)
    __doc__ = MemberDocumentation()

    def __init__(self, slot: Any, kind: type) -> None:
        self.slot = slot
        self.kind = kind

    def __get__(self, part: object, owner: type | None = None) -> Any:
        if part is None:
            return self
        value = self.slot.__get__(part)
        return value if type(value) is self.kind else None


class HiddenValue(Member):
    """A value that `fill` put there, else None. It is kept in a tuple, which no JSON value becomes, so a body that has this
    member's key cannot forge it."""

    __slots__ = ()
    __doc__ = MemberDocumentation()

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, part: object, owner: type | None = None) -> Any:
        if part is None:
            return self
        value = self.slot.__get__(part)
        return value[0] if type(value) is tuple else None


class Nested(Member):
    """A part within a part, or `empty`: None, or an empty part."""

    __slots__ = ("empty", "kind")
    __doc__ = MemberDocumentation()

    def __init__(self, slot: Any, kind: type, empty: object) -> None:
        self.slot = slot
        self.kind = kind
        self.empty = empty

    def __get__(self, part: object, owner: type | None = None) -> Any:
        if part is None:
            return self
        value = self.slot.__get__(part)
        return value if type(value) is self.kind else self.empty


class Derived(Member):
    """The result of `take` on the value, computed at each reading."""

    __slots__ = ("take",)
    __doc__ = MemberDocumentation()

    def __init__(self, slot: Any, take: Callable[[Any], Any]) -> None:
        self.slot = slot
        self.take = take

    def __get__(self, part: object, owner: type | None = None) -> Any:
        return self if part is None else self.take(self.slot.__get__(part))


class Cached(Member):
    """The result of `make` on a JSON list or object, computed once; anything else reads as `empty`."""

    __slots__ = ("empty", "make", "raw")
    __doc__ = MemberDocumentation()

    def __init__(self, slot: Any, make: Callable[[Any], Any], raw: tuple[type, ...], empty: object) -> None:
        self.slot = slot
        self.make = make
        self.raw = raw
        self.empty = empty

    def __get__(self, part: object, owner: type | None = None) -> Any:
        if part is None:
            return self
        value = self.slot.__get__(part)
        if type(value) in self.raw:
            value = self.make(value)
            self.slot.__set__(part, value)
            return value
        return value if isinstance(value, Made) else self.empty


class LazyList(Sequence[P], Generic[P]):
    """A list of parts, each decoded when it is first touched. Equal to any sequence of equal parts."""

    __slots__ = ("_items", "_part")

    def __init__(self, part: type[P], sources: Iterable[msgspec.Raw]) -> None:
        """`sources` are objects, each of them."""
        self._part = part
        self._items: list[Any] = list(sources)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[P, ...]: ...
    def __getitem__(self, index: int | slice) -> P | tuple[P, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self._items))))
        item = self._items[index]
        if type(item) is msgspec.Raw:
            found = read(self._part, item)
            item = self._items[index] = empty(self._part) if found is None else found
        return item  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[P]:
        return (self[place] for place in range(len(self._items)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(len(self._items))

    def __repr__(self) -> str:
        return f"<{len(self._items)} of {self._part.__name__}>"


Made = (tuple, LazyList)
"""The types of the values that `Cached` puts back into a slot."""


def is_object(source: msgspec.Raw) -> bool:
    """Return whether the JSON value is an object; a Raw begins at its first sign."""
    return bytes(memoryview(source)[:1]) == b"{"


def parts(kind: type, items: list[Any]) -> tuple[Any, ...]:
    """Return the items of exactly this type."""
    return tuple([item for item in items if type(item) is kind])


def rows(kind: type, lists: list[Any]) -> tuple[tuple[Any, ...], ...]:
    """Return lists of parts; a wrong inner list stays as an empty one because its position is the step."""
    return tuple([parts(kind, items) if type(items) is list else () for items in lists])


def sourced(kind: type, sources: list[msgspec.Raw]) -> tuple[Any, ...]:
    """Return parts that keep their source, all decoded."""
    return tuple([found for source in sources if (found := read(kind, source)) is not None])


def touched(kind: type[P], sources: list[msgspec.Raw]) -> LazyList[P] | tuple[P, ...]:
    """Return parts that are decoded one by one, when touched."""
    objects = [source for source in sources if is_object(source)]
    return LazyList(kind, objects) if objects else ()
