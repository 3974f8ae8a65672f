"""JSON that the decoder refuses though it is JSON, and JSON that nobody can change."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.pyrus.raw_json import ReadOnlyDict, ReadOnlyList, exactly, mended, read_only, untyped, utf8


@given(st.text(st.characters(categories=["Cs", "Lu", "Po"]) | st.sampled_from('\\"/u\ud83d\ude00d8'), max_size=12))
def test_every_text_python_can_escape_is_mended(text: str) -> None:
    sent = json.dumps({text: [text]}).encode()
    read = msgspec.json.decode(mended(sent))
    ((key, (value,)),) = read.items()
    assert key == value
    # Two halves that stand side by side are a pair: so reads json, and so do we.
    expected = json.loads(sent)[next(iter(json.loads(sent)))][0]
    assert value == "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in expected)


@given(
    st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(), st.lists, max_leaves=8)
)
def test_mending_leaves_what_is_right_as_it_is(value: object) -> None:
    sent = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    assert mended(sent) == sent


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("[1e308, 1e309, -1e309]", [1e308, None, None]),
        ('["1e999", 1e999]', ["1e999", None]),
        ('["\\\\\\"1e999", 1E+999]', ['\\"1e999', None]),
        ("[" + "9" * 5000 + "]", [None]),
        ("[" + "9" * 300 + "]", [int("9" * 300)]),
        ("[1e-999]", [0.0]),
    ],
)
def test_a_number_nobody_can_hold_is_null_and_all_others_stay(sent: str, expected: object) -> None:
    assert json.loads(mended(sent.encode())) == expected


def test_untyped_reads_what_it_can_and_else_none() -> None:
    assert untyped(b'{"a": 1.5}') == {"a": 1.5}
    assert untyped(b'{"a": 1e999}') == {"a": float("inf")}
    assert untyped(b'"\xff"') == "\ufffd"
    assert untyped(b'"\\ud800"') == "\ufffd"
    for wrong in (b"", b"{", b"[" * 100_000, b"nope"):
        assert untyped(wrong) is None
    assert exactly(b"[0.10, 1e999, 1e99999999999999999999]") == [Decimal("0.10"), Decimal("1e999"), None]


def test_wrong_bytes_become_replacement_signs_and_right_ones_stay_the_same_object() -> None:
    right = "ы".encode()
    assert utf8(right) is right
    assert utf8(b"a\xffb") == "a\ufffdb".encode()


def test_read_only_values_equal_what_was_sent_and_cannot_change() -> None:
    sent = {"a": [1, {"b": []}], "access_token": "secret"}
    closed = read_only(sent)
    assert closed == sent
    assert json.loads(json.dumps(closed)) == json.loads(msgspec.json.encode(closed)) == sent
    assert "secret" not in repr(closed)
    for change in (
        lambda: closed.update(a=1),
        lambda: closed.__setitem__("a", 1),
        lambda: closed.__delitem__("a"),
        lambda: closed.setdefault("z", 1),
        lambda: closed.popitem(),
        lambda: closed.clear(),
        lambda: closed.__ior__({}),
        lambda: closed["a"].append(1),
        lambda: closed["a"].__setitem__(0, 1),
        lambda: closed["a"].sort(),
        lambda: closed["a"].__iadd__([1]),
        lambda: closed["a"].__imul__(2),
        lambda: closed["a"][1]["b"].extend([1]),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert closed == sent


def test_a_copy_of_a_read_only_value_can_be_changed() -> None:
    closed = read_only({"a": [1]})
    own = dict(closed)
    own["b"] = list(own["a"])
    own["b"].append(2)
    assert own == {"a": [1], "b": [1, 2]}
    assert copy.copy(closed) == closed
    deep = copy.deepcopy(closed)
    deep["a"].append(2)
    assert (deep, closed) == ({"a": [1, 2]}, {"a": [1]})
    far = pickle.loads(pickle.dumps(closed))
    assert (far, type(far), type(far["a"])) == (closed, ReadOnlyDict, ReadOnlyList)


def test_a_value_nested_deep_is_closed_without_recursion() -> None:
    value: list[object] = []
    for _ in range(50_000):
        value = [value]
    closed = read_only(value)
    assert type(closed) is type(closed[0]) is ReadOnlyList
    assert type(read_only({})) is ReadOnlyDict
    while value:  # taken apart by hand: Python's own way down is recursive
        value = value.pop()  # type: ignore[assignment]
    boxes = [closed]
    while boxes[-1]:
        boxes.append(boxes[-1][0])
    while boxes:
        boxes.pop(0)
