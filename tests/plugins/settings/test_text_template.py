"""A text with words in braces: whatever is taken at the start can be filled later."""

from __future__ import annotations

import pytest

from bothost import TextTemplate


class Waits(TextTemplate):
    """A text about a task that waits."""

    words = ("task", "who")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("no word", "no word"),
        ("{task} {{ok}}", "5 {ok}"),
        ("{task:>3}|", "  5|"),
        ("{who!r}", "'None'"),
        ("{task:s}", "5"),
    ],
)
def test_a_text_that_is_taken_can_be_filled_with_any_value(text: str, filled: str) -> None:
    assert Waits.parse(text).filled(task=5, who=None) == filled


@pytest.mark.parametrize(
    "text", ["{task", "task}", "{0}", "{}", "{form}", "{task.x}", "{task.upper}", "{who!x}", "{task:d}", "{task[0]}"]
)
def test_a_text_that_cannot_be_filled_is_found_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"only \{task\}, \{who\} may stand in braces"):
        Waits.parse(text)
