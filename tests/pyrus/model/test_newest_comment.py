"""The highest comment id, found quickly and rightly."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bothost.pyrus.model.newest_comment import newest_of


def sources(comments: list[object], *, compact: bool = True) -> list[msgspec.Raw]:
    """Comments as the decoder leaves them."""
    separators = (",", ":") if compact else (", ", ": ")
    return msgspec.json.decode(json.dumps(comments, separators=separators), type=list[msgspec.Raw])


ids = st.one_of(
    st.integers(0, 30),
    st.integers(1, 10**7),
    st.sampled_from([9, 99, 999, 1000, 10**18, 10**18 - 1, 2**63 - 1]),
)
odd = st.sampled_from([None, "x", 1.5, 8e9, True, [], {}])


@given(st.lists(ids, min_size=1, max_size=30), st.booleans(), st.booleans(), st.booleans())
def test_the_highest_id_is_found_in_any_order_and_any_writing(
    numbers: list[int], ascending: bool, compact: bool, first: bool
) -> None:
    numbers = sorted(numbers) if ascending else numbers
    long = {"a": 1, "b": ",", "text": "longer than a head"}
    comments: list[Any] = [{"id": n, **long} if first else {**long, "id": n} for n in numbers]
    found = newest_of(sources(comments, compact=compact))
    assert found.comment_id == max(numbers)
    assert numbers[found.place] == max(numbers)


@given(st.lists(ids | odd, min_size=8, max_size=20), ids)
def test_ids_that_are_none_do_not_count(numbers: list[object], last: int) -> None:
    comments: list[Any] = [{"id": n, "a": 1} for n in [*numbers, last]]
    known = [n for n in [*numbers, last] if type(n) is int]
    assert newest_of(sources(comments)).comment_id == max(known)


@given(st.lists(ids | odd, max_size=20), odd)
def test_a_last_comment_that_shows_no_id_is_the_newest(numbers: list[object], last: object) -> None:
    comments: list[Any] = [{"id": n} for n in [*numbers, last]]
    found = newest_of(sources(comments))
    assert (found.comment_id, found.place) == (None, len(comments) - 1)


def test_ids_that_ascend_as_text_only_are_compared_as_numbers() -> None:
    found = newest_of(sources([{"id": n, "text": "longer than a head"} for n in (10, 11, 12, 13, 14, 15, 16, 2)]))
    assert (found.place, found.comment_id) == (6, 16)


def test_an_id_behind_other_keys_counts_among_ids_that_ascend() -> None:
    found = newest_of(sources([{"a": 12, "id": 99}, *({"id": n, "a": 1} for n in range(1, 9))]))
    assert (found.place, found.comment_id) == (0, 99)


def test_what_is_no_object_is_no_comment() -> None:
    found = newest_of(sources([5, {"id": 1}, "x", {"id": 3}, {"id": 2}, [], None, 7, 8]))
    assert (len(found.sources), found.place, found.comment_id) == (3, 1, 3)
    for none in ([], [5], [5, 6], [[]] * 20):
        found = newest_of(sources(none))  # type: ignore[arg-type]
        assert (found.sources, found.place, found.comment_id) == ([], -1, None)
