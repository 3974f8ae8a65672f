"""The Russian documents say what the English ones say, in one order; and each message of a command has its Russian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.language.leaks import CORE, RAISES, SAID, untranslated

ROOT = Path(__file__).parent.parent
PAIRS = {
    "README.md": "README.ru.md",
    "docs/plugin-guide.md": "docs/ru/plugin-guide.md",
    "docs/operator-guide.md": "docs/ru/operator-guide.md",
    "docs/coming-from.md": "docs/ru/coming-from.md",
    "docs/deploy/README.md": "docs/ru/deploy.md",
    "docs/debugging.md": "docs/ru/debugging.md",
    "docs/local-development.md": "docs/ru/local-development.md",
    "docs/testing-bots.md": "docs/ru/testing-bots.md",
}
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
pairs = pytest.mark.parametrize(("english", "russian"), PAIRS.items(), ids=PAIRS)


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def prose(name: str) -> str:
    return FENCE.sub("", text(name))


def code(name: str) -> list[tuple[str, str]]:
    """The blocks; a shell's remarks may be in the reader's language."""
    return [(language, re.sub(r" +#.*$", "", body, flags=re.MULTILINE)) for language, body in FENCE.findall(text(name))]


def chapters(name: str) -> list[tuple[int, int, int]]:
    """For each heading: its rank, and how many tables' rows and list items stand below it."""
    parts = re.split(r"^(#+) .*$", prose(name), flags=re.MULTILINE)
    return [
        (
            len(rank),
            len(re.findall(r"^\|", body, re.MULTILINE)),
            len(re.findall(r"^ *(?:-|\d+\.) ", body, re.MULTILINE)),
        )
        for rank, body in zip(parts[1::2], parts[2::2], strict=True)
    ]


def words_of_code(name: str) -> list[str]:
    """What stands in backticks, without what a sentence may leave out or repeat."""
    return sorted(set(re.findall(r"`([^`]+)`", re.sub(r"\s+", " ", prose(name)))))


def first_cells(name: str) -> list[str]:
    return [cell for cell in re.findall(r"^\| ([^|]*) \|", prose(name), re.MULTILINE) if "`" in cell]


@pairs
def test_both_have_the_same_chapters_tables_and_lists(english: str, russian: str) -> None:
    assert chapters(russian) == chapters(english)


@pairs
def test_both_show_the_same_code(english: str, russian: str) -> None:
    assert code(russian) == code(english)


@pairs
def test_both_name_the_same_keys_options_and_commands(english: str, russian: str) -> None:
    ours, theirs = set(words_of_code(russian)), set(words_of_code(english))
    assert ours == theirs, f"only in Russian: {sorted(ours - theirs)}; only in English: {sorted(theirs - ours)}"


@pairs
def test_tables_have_their_rows_in_the_same_order(english: str, russian: str) -> None:
    keys = [re.findall(r"`[^`]+`", cell) for cell in first_cells(english)]
    assert [re.findall(r"`[^`]+`", cell) for cell in first_cells(russian)] == keys


@pairs
def test_both_lead_to_the_same_places(english: str, russian: str) -> None:
    twins = {(ROOT / there).resolve(): (ROOT / here).resolve() for here, there in PAIRS.items()}

    def places(name: str) -> list[str]:
        found = set()
        for target in re.findall(r"\]\(([^)#\s]+)", prose(name)):
            path = target if "://" in target else ((ROOT / name).parent / target).resolve()
            found.add(str(twins.get(path, path)))
        return sorted(found - {str((ROOT / "README.md").resolve()), str((ROOT / "README.ru.md").resolve())})

    assert places(russian) == places(english)


def test_a_russian_document_stands_beside_each_english_guide_that_it_leads_to() -> None:
    for name in PAIRS.values():
        for target in re.findall(r"\]\(([^)#\s]+\.md)", prose(name)):
            path = ((ROOT / name).parent / target).resolve()
            english = next((here for here in PAIRS if (ROOT / here).resolve() == path and here != "README.md"), None)
            assert english is None, f"{name} leads to {target}, which there is in Russian: {PAIRS[english or '']}"


@pytest.mark.parametrize("path", SAID, ids=lambda path: str(path.relative_to(CORE)))
def test_every_message_of_the_commands_has_a_russian_one(path: Path) -> None:
    left = untranslated(path)
    assert not left, "add the Russian in core/bothost/language:\n" + "\n".join(left)


def test_every_error_of_a_run_and_of_a_start_has_a_russian_one() -> None:
    left = [told for path in RAISES for told in untranslated(path)]
    assert not left, "add the Russian in core/bothost/language/russian_raised.py:\n" + "\n".join(left)
