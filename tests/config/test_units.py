"""Durations, sizes and the other texts of bots.ini."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.config import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50s", 50), ("15m", 900), ("7d", 604800), ("1h", 3600), ("500ms", 0.5), ("0", 0), ("1h30m", 5400), ("1.5h", 5400), ("2w", 1209600), ("1h 30m", 5400), ("10 s", 10)],
)  # fmt: skip
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert units.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [("50", "50s"), ("15M", "15m"), ("", "write 50s"), ("-5s", "write 50s"), ("5 minutes", "write 50s"), ("1e3s", "write"), ("999999d", "hundred years"), ("٥s", "write")],
)  # fmt: skip
def test_what_is_no_duration_says_what_would_be(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        units.seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16M", 16 << 20), ("64k", 65536), ("1G", 1 << 30), ("1024", 1024), ("16MB", 16 << 20), ("16MiB", 16 << 20), ("1.5k", 1536), ("16 M", 16 << 20), ("0", 0)],
)  # fmt: skip
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert units.size(text) == size


@pytest.mark.parametrize("text", ["", "M", "16X", "-1k", "16 MM", "1e9"])
def test_what_is_no_size_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="write 64k, 16M"):
        units.size(text)


def test_yes_and_no_have_several_words_in_any_case() -> None:
    assert [units.truth(word) for word in ("yes", "On", "TRUE", "1")] == [True] * 4
    assert [units.truth(word) for word in ("no", "Off", "FALSE", "0")] == [False] * 4
    with pytest.raises(ValueError, match="neither yes nor no"):
        units.truth("ja")


def test_a_number_out_of_range_names_the_range() -> None:
    assert units.number("+5", 1, 9) == 5
    with pytest.raises(ValueError, match="from 1 to 9"):
        units.number("10", 1, 9)
    with pytest.raises(ValueError, match="whole number"):
        units.number("5.0", 1, 9)


def test_a_near_word_is_offered() -> None:
    with pytest.raises(ValueError, match="did you mean 'thread'"):
        units.choice("tread", ("loop", "thread"))


@given(st.text())
def test_any_text_gives_a_value_or_a_value_error(text: str) -> None:
    for read in (units.seconds, units.size, units.truth, lambda t: units.number(t, 0, 5)):
        try:
            assert read(text) >= 0
        except ValueError as error:
            assert str(error)  # noqa: PT017 - the text is what counts
