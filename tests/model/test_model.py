"""The rules of delivery states held against chance: thousands of events, each with its share of trouble."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from tests.model.judging import judge
from tests.model.plans import Odds
from tests.model.world import World

SEED = os.environ.get("BOTHOST_MODEL_SEED", "1")
EVENTS = int(os.environ.get("BOTHOST_MODEL_EVENTS", "0"))
"""A million by hand: BOTHOST_MODEL_EVENTS=1000000 pytest tests/model -m full"""
A_WORLD = 400


def play(seed: str, events: int, odds: Odds, processes: int = 1) -> Counter[str]:
    """Worlds until there were so many events. Raises AssertionError with the seed of the world in which something went wrong."""
    words: Counter[str] = Counter()
    logging.disable(logging.CRITICAL)
    try:
        for number in range(-(-events // A_WORLD)):
            name = f"{seed}-{number}"
            with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
                world = World(name, Path(folder), min(A_WORLD, events), odds, processes)
                world.play()
                wrong = judge(world)
            assert not wrong, f"BOTHOST_MODEL_SEED, world {name!r}:\n" + "\n".join(wrong[:20])
            words.update(world.words)
            words["deaths"] += len(world.deaths)
            words["drains"] += len(world.drained)
            words["runs"] += sum(len(seen.runs) for seen in world.seen.values())
            words["comments"] += len(world.pyrus.written)
    finally:
        logging.disable(logging.NOTSET)
    return words


def fast_folder() -> str | None:
    """Where commits cost no disk: what is tested here is order, not power loss."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def test_two_thousand_events_with_all_that_can_go_wrong() -> None:
    words = play(SEED, 2000, Odds())
    assert words["deaths"] > 10
    assert words["200 late"] > 50


def test_without_crashes_and_a_sick_journal_every_event_runs_once() -> None:
    calm = Odds(crash_at_write=0, crash_at_note=0, crash_at_call=0, drain=1.0, away=0, slow=0)
    play(f"calm-{SEED}", 800, calm)


@pytest.mark.full
def test_ten_thousand_events() -> None:
    play(f"many-{SEED}", EVENTS or 10_000, Odds())


@pytest.mark.full
def test_two_processes_on_one_journal() -> None:
    """The journal is slow, but never away: then the last attempt may run on a claim in memory, beside another process."""
    play(f"two-{SEED}", EVENTS or 8_000, Odds(away=0), processes=2)


def test_two_processes_whose_journal_lands_what_nobody_waits_for_any_more() -> None:
    """Writes are given up and land later, between whatever is written meanwhile; nobody dies."""
    doubt = Odds(
        crash_at_write=0, crash_at_note=0, crash_at_call=0, drain=1.0, away=0, slow=0.1, unheard=0.1, ghost=0.2
    )
    words = play(f"doubt-{SEED}", EVENTS or 400, doubt, processes=2)
    assert words["503 unrecorded"] > 5
