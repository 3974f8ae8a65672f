"""The reply encoder: any answer of a handler becomes a JSON object that Pyrus can read, or a ReplyError."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

from tests.fuzz.draw import Draw
from tests.fuzz.targets.decoder import KEYS, SAMPLES

from bothost.errors import ReplyError
from bothost.pyrus.envelope import decode
from bothost.pyrus.reply.reply import OFFICIAL, Reply, encode, encode_comment, encode_json, needs_task, warnings
from bothost.pyrus.rest.results import Upload

_OFFICIAL = sorted(OFFICIAL)
_TASKS = [
    decode(SAMPLES.joinpath(name).read_bytes()).task
    for name in ("02_form_all_field_types.json", "11_minimal_body.json")
]
_NAMES = [field.name or "" for field in _TASKS[0].fields] + [field.id or 0 for field in _TASKS[0].fields]


class _Colour(Enum):
    RED = "red"
    ODD = ("a", 1)


def check(data: bytes) -> None:
    """An answer of any shape, encoded with and without a task."""
    draw = Draw(data)
    task = (None, *_TASKS)[draw.below(3)]
    try:
        answer = _answer(draw)
    except ReplyError:
        return
    assert all(isinstance(line, str) for line in warnings(answer))
    needs_task(answer)
    for encoder in (lambda: encode(answer, task), lambda: encode_comment(answer, task), lambda: encode_json(answer)):
        try:
            body = encoder()
        except ReplyError:
            continue
        # as strict as Pyrus: UTF-8, no NaN, no infinity
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        assert encoder() == body
        if encoder.__code__.co_names[0] == "encode":
            assert isinstance(value, dict)


def seeds() -> list[bytes]:
    """Beginnings of every kind of answer."""
    return [bytes([1, kind]) + bytes((step * kind + kind) % 256 for step in range(120)) for kind in range(24)]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _answer(draw: Draw) -> Any:
    kind = draw.below(6)
    if kind == 0:
        return Reply(**{draw.pick(_OFFICIAL): _value(draw) for _ in range(draw.below(5))})
    if kind == 1:
        return {draw.key(_OFFICIAL): _value(draw) for _ in range(draw.below(6))}
    if kind == 2:
        return draw.text()
    if kind == 3:
        return {"field_updates": {draw.pick(_NAMES): _value(draw) for _ in range(draw.below(5))}, "text": draw.text()}
    if kind == 4:
        return Reply(field_updates={draw.pick(_NAMES): _value(draw) for _ in range(draw.below(5))})
    return _value(draw)


def _value(draw: Draw, depth: int = 4) -> Any:
    kind = draw.below(24 if depth else 14)
    if kind < 14:
        return _SCALARS[kind](draw)
    if kind == 14:
        return [_value(draw, depth - 1) for _ in range(draw.below(5))]
    if kind == 15:
        return tuple(_value(draw, depth - 1) for _ in range(draw.below(3)))
    if kind < 18:
        return {draw.key(KEYS): _value(draw, depth - 1) for _ in range(draw.below(4))}
    if kind == 18:
        return {draw.below(9): [_value(draw, depth - 1)] for _ in range(draw.below(3))}
    if kind == 19:
        return {draw.text() for _ in range(draw.below(3))}
    if kind == 20:
        return _knot(draw)
    if kind == 21:
        return draw.pick(_TASKS).author
    if kind == 22:
        return Upload(draw.text(), name=draw.text())
    return draw.pick(_TASKS).fields


def _knot(draw: Draw) -> Any:
    deep: list[Any] = []
    if draw.sometimes(2):
        deep.append(deep)  # holds itself
        return deep
    for _ in range(draw.below(256) * 8):
        deep = [deep]
    return deep


_SCALARS = (
    lambda draw: draw.number(),
    lambda draw: draw.text(),
    lambda draw: draw.pick((True, False, None)),
    lambda draw: draw.pick(("approved", "rejected", "finished", "reopened", "revoked")),
    lambda draw: Decimal(draw.pick(("1.10", "NaN", "-Infinity", "1E+400", "sNaN", "0", "-0.00"))),
    lambda draw: datetime(2026, 1, 1 + draw.below(28), tzinfo=draw.pick((UTC, None, timezone(timedelta(hours=3))))),
    lambda draw: draw.pick((datetime.max, datetime.min)).replace(tzinfo=draw.pick((UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))))),
    lambda draw: date(1 + draw.below(255), 1, 1),
    lambda draw: time(draw.below(24), draw.below(60), tzinfo=draw.pick((None, UTC))),
    lambda draw: timedelta(minutes=draw.below(200), seconds=draw.below(3), days=draw.pick((0, -1, 999999999))),
    lambda draw: draw.pick(tuple(_Colour)),
    lambda draw: draw.chunk(5),
    lambda draw: draw.pick((object(), object, ..., 1j, float("nan"), float("-inf"), 10**400, range(3))),
    lambda draw: draw.pick(_NAMES),
)  # fmt: skip
