"""Find a body's newest comment, the one with the highest id, without decoding the others."""

from __future__ import annotations

import re
import struct
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec

from bothost.pyrus.model.descriptors import is_object, read, slot
from bothost.pyrus.model.task import Comment
from bothost.pyrus.raw_json import UNREADABLE
from bothost.pyrus.scalars import whole

_PLAIN = re.compile(rb'\{"id":[0-9]{1,18},').match
_HEAD = re.compile(rb'\{\s*"id"\s*:\s*([0-9]{1,18})\s*[,}]').match
_COMMA = {ord(",")}
_LONGEST = struct.Struct("26s").unpack_from
"""Takes as much of a comment as `_PLAIN` can match, because to copy all of them takes twice as long."""
_MANY = 8
_ID = slot(Comment, "id")


class _Head(msgspec.Struct, gc=False):
    id: Any = None


_head = msgspec.json.Decoder(_Head, float_hook=float).decode


class NewestComment(msgspec.Struct, frozen=True):
    """The comments of a body, the place of the newest, and its id if the ids tell which it is. `sources` are Raw, or
    the one comment there is, decoded; it is then `only` as well."""

    sources: list[Any]
    place: int
    comment_id: int | None
    only: Comment | None = None


NONE = NewestComment([], -1, None)


def newest_of(items: list[msgspec.Raw]) -> NewestComment:
    """Return the newest comment: of the highest id, wherever it stands. If the last one shows no id, nobody knows whether it
    is newer than the highest id shown: then it is the newest, and the event has no comment id.
    """
    if len(items) == 1:
        only = read(Comment, items[0])  # it is read in any case because the loop breaker wants its author
        return NONE if only is None else NewestComment([only], 0, whole(_ID.__get__(only)), only)
    if len(items) >= _MANY and (last := _last_of_ascending(items)) is not None:
        return NewestComment(items, len(items) - 1, last)
    sources = [item for item in items if is_object(item)]
    ids = [_comment_id(source) for source in sources]
    if not ids or ids[-1] is None:
        return NewestComment(sources, len(ids) - 1, None)
    number, place = max((number, place) for place, number in enumerate(ids) if number is not None)
    return NewestComment(sources, place, number)


def _last_of_ascending(items: list[msgspec.Raw]) -> int | None:
    """Return the last comment's id, if the comments are written compactly, id first, and ascend as bytes: then no other id is
    higher. All begin as the first and the last do, with `{"id":` and a digit; a number that ends at the last one's comma or
    before has no more digits than it, and as many digits compare as bytes do. A third of the cost of reading each id.
    """
    try:
        heads = list(chain.from_iterable(map(_LONGEST, items)))
    except struct.error:  # one is shorter
        return None
    found = _PLAIN(heads[-1])
    if not found or not _PLAIN(heads[0]) or heads != sorted(heads):
        return None
    ends = set(map(itemgetter(found.end() - 1), heads))
    return int(heads[-1][6 : found.end() - 1]) if ends == _COMMA else None


def _comment_id(source: msgspec.Raw) -> int | None:
    if found := _HEAD(source):
        return int(found[1])
    try:
        return whole(_head(source).id)
    except UNREADABLE:
        return None
