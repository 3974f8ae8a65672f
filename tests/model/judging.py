"""What must hold at the end of a world: never two comments for one event, never an acknowledged event without its reply."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bothost.journal.transitions import KILLED
from bothost.pyrus.envelope import decode, event_key

if TYPE_CHECKING:
    from tests.model.seen import Seen
    from tests.model.world import World

    from bothost.journal.entry import Entry


def judge(world: World) -> list[str]:
    """Everything that is wrong, by event."""
    for wrote in world.pyrus.written:
        name = wrote.text.partition(" ")[0]
        if name in world.seen:
            world.seen[name].comments.append(wrote.text)
    texts_of_errors = Counter(wrote.task_id for wrote in world.pyrus.written if wrote.text == "Sorry.")
    keys = {event_key(seen.plan.bot.name, decode(seen.plan.body(1))): seen for seen in world.seen.values()}
    rows = {keys[row.id].plan.name: row for row in world.rows if row.id in keys}
    wrong = list(world.faults)
    for seen in world.seen.values():
        wrong += [
            f"{seen.plan.name} ({seen.plan.bot.name}): {text}" for text in faults_of(seen, rows.get(seen.plan.name))
        ]
    for task, count in texts_of_errors.items():
        events = [
            seen for seen in world.seen.values() if seen.plan.task == task and seen.plan.bot.ini.get("error_text")
        ]
        if count > len(events):
            wrong.append(f"task {task} has {count} error texts for {len(events)} events")
    return wrong


def faults_of(seen: Seen, row: Entry | None) -> list[str]:
    """What is wrong with one event."""
    found = []
    if len(seen.comments) > 1:
        found.append(f"{len(seen.comments)} comments")
    if row is not None and row.state in ("ready", "running"):
        found.append(f"still {row.state} by the {row.door}")
    if seen.door_api and row is None:
        found.append("acknowledged, and the journal does not know it")
    if seen.door_api and row is not None and not seen.comments:
        found += faults_of_silence(seen, row)
    firsts = [run for run in seen.runs if not run.rerun]
    if len(firsts) > 1 + len({run.life for run in firsts if run.life.killed}):
        found.append(f"{len(firsts)} first runs")
    runs = [run for run in seen.runs if run.said == "raise"]
    unrecorded = len({run.life for run in runs if run.life.killed})
    if len(runs) > 3 + unrecorded:
        found.append(f"{len(runs)} failed runs")
    return found


def faults_of_silence(seen: Seen, row: Entry) -> list[str]:
    """An event that was acknowledged and has no comment: it had nothing to say, or has failed as it may."""
    if row.state == "answered" and row.answer in (None, b"{}"):
        return []
    if row.state == "failed" and (
        row.error.startswith(KILLED) or "ValueError" in row.error or "did not end within" in row.error
    ):
        return []
    return [f"acknowledged, and ended {row.state} without its reply: {row.error[:200]!r} {row.answer!r}"]
