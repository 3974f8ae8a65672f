"""No JSON value at any place loses an event, or changes what stands elsewhere in it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bothost.errors import BodyRefused
from bothost.pyrus.envelope import decode, event_key, is_own, waiting_step
from bothost.pyrus.model.descriptors import read
from bothost.pyrus.model.parts import Approval, Channel, Person
from bothost.pyrus.model.task import Comment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bothost.pyrus.model.task import Task

    Body = Callable[[str], bytes]

DELIVERIES = sorted((Path(__file__).parents[2] / "data" / "deliveries").glob("[0-9]*.json"))
ODD = (None, True, 0, -1, 1532.0, 2**70, "", "x", "2026-02-31", [], [[]], {}, {"id": "x", "value": [{}]})
Place = tuple[str | int, ...]


def places(value: Any, items: int, path: Place = ()) -> Iterator[Place]:
    """Every place in a JSON value, of lists the first `items`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:items]) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, items, (*path, key))


def at(value: Any, path: Place, odd: object) -> bytes:
    """The body with this odd value at this place."""
    box = value
    for key in path[:-1]:
        box = box[key]
    kept, box[path[-1]] = box[path[-1]], odd
    try:
        return msgspec.json.encode(value)
    finally:
        box[path[-1]] = kept


def readable(value: Any) -> Any:
    """All that can be read of a part, as plain values."""
    if isinstance(value, msgspec.Struct):
        return {name: readable(getattr(value, name)) for name in names(type(value))} | {
            "": bool(value),
            "repr": repr(value),
        }
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [readable(item) for item in value]
    if hasattr(value, "keys"):
        return {key: readable(value[key]) for key in value}
    return value


def names(part: type) -> list[str]:
    """What a part's class declares and adds as properties."""
    declared: Any = part
    return [
        *declared.__shown__,
        *(name for name, what in vars(part).items() if isinstance(what, property) and name[0] != "_"),
    ]


def everything(body: bytes) -> dict[str, Any]:
    """All that host and handler may read of an event."""
    envelope = decode(body)
    task = envelope.task
    for field in task.fields:
        for key in (field.id, field.code, field.name):
            if key is not None:
                assert key == "" or _found(task, key)
    assert isinstance(task.id, int)
    assert task.value("absent") is None
    assert event_key("b", envelope).startswith(f"b:{envelope.task_id}:")
    return {
        "around": (envelope.kind, envelope.task_id, envelope.user_id, envelope.bot_settings, envelope.api_url),
        "waits": waiting_step(envelope, 900100),
        "own": is_own(envelope, envelope.user_id),
        "login": envelope.login_of(envelope.user_id),
        "raw": envelope.raw,
        "digest": envelope.digest(),
        "newest": readable(envelope.newest),
        "task": readable(task),
    }


def _found(task: Task, key: int | str) -> bool:
    try:
        return key in task and task.field(key) is not None
    except LookupError:
        return True


def survive(path: Path, items: int, odd: Callable[[int], Sequence[object]]) -> int:
    """Put odd values at every place of a body, and read all of it; how many bodies that made."""
    whole, count = json.loads(path.read_bytes()), 0
    whole["task"]["comments"] = whole["task"].get("comments", [])[:20]
    for number, place in enumerate(list(places(whole, items))):
        for value in odd(number):
            body = at(whole, place, value)
            if place == ("task_id",) and not isinstance(whole["task"].get("id"), int):
                continue
            try:
                everything(body)
            except BodyRefused:
                raise AssertionError(f"{path.name}: {value!r} at {place} loses the event") from None
            except Exception as error:
                raise AssertionError(f"{path.name}: {value!r} at {place}: {error!r}") from error
            count += 1
    return count


@pytest.mark.parametrize("path", DELIVERIES, ids=lambda path: path.stem[:2])
def test_an_odd_value_anywhere_loses_no_event(path: Path) -> None:
    assert survive(path, 2, lambda number: (ODD[number % 13],)) >= 3


@pytest.mark.full
@pytest.mark.parametrize("path", DELIVERIES, ids=lambda path: path.stem[:2])
def test_every_odd_value_at_every_place_loses_no_event(path: Path) -> None:
    assert survive(path, 3, lambda _number: ODD) >= 3 * len(ODD)


def calls(work: Callable[[], object]) -> Counter[str]:
    """How often each function of ours was called, by name."""
    counted: Counter[str] = Counter()

    def note(frame: Any, event: str, _argument: object) -> None:
        if event == "call" and "bothost/pyrus" in frame.f_code.co_filename:
            counted[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_value_takes_the_same_way_as_a_right_one(odd: object, body: Body) -> None:
    def way(sent: bytes) -> Counter[str]:
        return calls(lambda: (decode(sent), event_key("b", decode(sent))))

    right = body("02")
    for place in (("task", "author"), ("task", "fields", 3), ("task", "text"), ("task", "approvals", 0, 0, "person")):
        assert way(at(json.loads(right), place, odd)) == way(msgspec.json.encode(json.loads(right)))


def test_only_what_is_touched_is_decoded(body: Body) -> None:
    big = body("15")
    assert calls(lambda: decode(big))["read"] == 0
    assert calls(lambda: event_key("b", decode(big)))["read"] == 0
    assert calls(lambda: is_own(decode(big), 900100))["read"] == 1
    task = decode(big).task
    assert calls(lambda: (task.comments[7].text, task.comments[7].author.name))["read"] == 1
    assert calls(lambda: (task.comments[7].text, len(task.comments)))["read"] == 0
    assert task.comments[7] is task.comments[7]
    assert [comment.id for comment in task.comments[:2]] == [8810000, 8810001]


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        (("task", "author"), {"author"}),
        (("task", "author", "email"), {"author"}),
        (("task", "approvals", 0), {"approvals"}),
        (("task", "approvals", 0, 0, "person"), {"approvals"}),
        (("task", "subscribers", 1, "person"), {"subscribers"}),
        (("task", "fields", 1, "value"), {"fields", "top_fields"}),
        (("task", "fields", 1, "name"), {"fields", "top_fields"}),
        (("task", "comments", 0, "author"), {"comments"}),
        (("task", "comments", 0, "field_updates", 0), {"comments"}),
        (("task", "create_date"), {"create_date"}),
        (("task", "steps"), {"steps"}),
        (("task", "list_ids", 0), {"list_ids"}),
        (("task", "form_id"), {"form_id"}),
        (("task", "fields"), {"fields", "top_fields"}),
    ],
)
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_value_changes_nothing_elsewhere(place: Place, changed: set[str], odd: object, body: Body) -> None:
    right = readable(decode(body("02")).task)
    wrong = readable(decode(at(json.loads(body("02")), place, odd)).task)
    assert {key for key in right if right[key] != wrong[key]} <= changed


def test_a_wrong_item_is_left_out_and_a_wrong_step_stays_an_empty_one() -> None:
    task = decode(
        b'{"task_id": 5, "task": {"participants": [{"id": 1}, 5, null, {"id": 2}], "list_ids": [1, "2", 3.0, true, 4],'
        b'"approvals": [[], 5, null, [{"person": {"id": 9}}, "x"]], "comments": [7, {"id": 1}, []], "fields": [[], {"id": 1}]}}'
    ).task
    assert [person.id for person in task.participants] == [1, 2]
    assert task.list_ids == (1, 4)
    assert [len(step) for step in task.approvals] == [0, 0, 0, 1]
    assert [comment.id for comment in task.comments] == [1]
    assert [field.id for field in task.fields] == [1]


def test_what_is_missing_reads_as_none_an_empty_list_or_an_empty_part() -> None:
    task = decode(b'{"task_id": 5}').task
    assert (task.text, task.create_date, task.form_id, task.responsible) == (None, None, None, None)
    assert (task.comments, task.fields, task.approvals, task.participants) == ((), (), (), ())
    assert not task
    assert not task.author
    assert task.author.name == ""
    comment = read(Comment, b"{}")
    assert comment is not None
    assert not comment
    assert not comment.author
    assert comment.channel is None
    approval = read(Approval, b'{"person": []}')
    assert approval is not None
    assert approval.person.email is None


def test_parts_are_read_only(body: Body) -> None:
    envelope = decode(body("02"))
    for part, name in ((envelope.task, "text"), (envelope.task.author, "id"), (envelope.task.comments[0], "text")):
        with pytest.raises(AttributeError):
            setattr(part, name, None)
    for change in (
        lambda raw: raw.update(x=1),
        lambda raw: raw.pop("task"),
        lambda raw: raw["task"].clear(),
        lambda raw: raw["task"]["comments"].append(1),
        lambda raw: raw["task"]["comments"][0].__setitem__("x", 1),
    ):
        with pytest.raises(TypeError):
            change(envelope.raw)
    assert envelope.raw == json.loads(envelope.body)
    assert json.dumps(envelope.raw)
    assert envelope.newest
    assert envelope.newest.raw == json.loads(envelope.body)["task"]["comments"][-1]


def test_persons_are_equal_by_a_known_id_only() -> None:
    one, same, other = (read(Person, text) for text in (b'{"id": 1, "email": "a"}', b'{"id": 1}', b'{"id": 2}'))
    unknown, unknown_too = read(Person, b'{"email": "a"}'), read(Person, b'{"email": "a", "id": 1.0}')
    assert one == same
    assert not one != same  # noqa: SIM202 - both operators are promised
    assert len({one, same, other}) == 2
    assert one != other
    assert unknown != unknown_too
    assert unknown != unknown  # noqa: PLR0124 - an unknown id is nobody's, its own included


def test_names_are_read_as_people_write_them(body: Body) -> None:
    role, person = (
        field.value for field in (decode(body("02")).task.field(18), decode(body("02")).task.field(17)) if field
    )
    assert (role.name, person.name) == ("Бухгалтерия", "Пётр Сазонов")
    channel = read(Channel, b'{"type": "telegram", "from": {"name": "N"}, "to": 5}')
    assert channel
    assert channel.sender
    assert (channel.sender.name, channel.to) == ("N", None)


def test_dates_keep_their_zone_and_lose_only_what_python_cannot_hold(body: Body) -> None:
    newest = decode(body("14")).newest
    assert newest
    assert newest.create_date
    assert newest.create_date.isoformat() == "2026-03-02T10:00:00.123456+00:00"
    for text in ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00", "2026-03-02T13:00:00+03:00"):
        task = decode(json.dumps({"task_id": 5, "task": {"due": text, "due_date": text}}).encode()).task
        assert task.due
        assert task.due.tzinfo
        assert (task.due.timestamp(), str(task.due_date)) == (1772445600.0, "2026-03-02")


def test_a_hidden_member_cannot_be_sent() -> None:
    keys = {
        f"bothost: {name}": "x" for name in ("source", "known_raw", "known_id", "known_index", "depth", "known_inner")
    }
    field = {"id": 1, "type": "text", "value": "v", **keys, "bothost: known_value": ["x"]}
    task = decode(json.dumps({"task_id": 5, "task": {**keys, "fields": [field], "comments": [keys]}}).encode()).task
    assert (task.id, task.value(1)) == (5, "v")
    assert task.comments[0].raw == keys


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "task", "task_id", "comments", "fields", "value", "type", "author", "approvals", "text", "cells"]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(json_values, json_values)
def test_any_json_is_an_event_or_refused(value: object, task: object) -> None:
    for sent in (
        value,
        {"task_id": 5, "task": task},
        {"task_id": 5, "task": {"fields": task, "comments": value, "author": task}},
    ):
        body = json.dumps(sent).encode()
        try:
            everything(body)
        except BodyRefused:
            assert not isinstance(sent, dict) or "task_id" not in sent or type(sent["task_id"]) is not int


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 4000), st.integers(0, 60))
def test_any_bytes_are_an_event_or_refused(noise: bytes, start: int, length: int) -> None:
    right = DELIVERIES[8].read_bytes()
    for body in (noise, right[:start] + noise + right[start + length :], right[: start % len(right)]):
        try:
            everything(body)
        except BodyRefused:
            continue
