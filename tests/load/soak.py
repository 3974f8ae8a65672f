"""An hour of steady load, and what the host grows by: `make soak`, or `python -m tests.load.soak --minutes 60 --page`.

The installed entry point serves 24 bots at 50 deliveries a second: answers at once (async, in threads, with bodies that lie
beside the database), after a while, late through a fake Pyrus, failures, ticks of a timer; duplicates, retries and repeats
among them. Its journal begins with the keys of an hour thirty days ago, so that keys are dropped as fast as new ones come, as
in a host that has been up for a month. Each minute is a row; the verdict leaves out the warm-up, in which memory and journal
fill with what they keep for ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.site import HostSite
from tests.load.load import DELIVERIES_OF_AN_EVENT, PLUGINS, Load, Mix, add_bots, sections

import bothost
from bothost.clock import SystemClock
from bothost.journal.entry import Entry
from bothost.journal.retention import KEYS_S
from bothost.journal.rows import values_of
from bothost.journal.sqlite.connection import WritingConnection
from bothost.journal.sqlite.statements import write_all
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BEGIN, END = "<!-- written by make soak -->", "<!-- end of what make soak wrote -->"
WARM_UP_MIN = 25
"""Keys are in memory for three minutes; bodies are kept for five and dropped every ten: memory and journal are at their
fullest after the second of these rounds."""
MOST_MB_PER_HOUR = 1.0
MORE = """
def threaded(event):
    return f"reply to {event.task_id}"
async def big(event):
    return f"reply to {event.task_id}"
class ticking(Plugin):
    @every("10s")
    async def tick(self):
        pass
    async def handle(self, event):
        return f"reply to {event.task_id}"
"""
KINDS = (
    ("quick",) * 9 + ("threaded",) * 4 + ("big",) * 4 + ("slow",) * 2 + ("late",) * 2 + ("failing",) * 2 + ("ticking",)
)
TEXT_BYTES = {"big": 22_000}


@dataclass(frozen=True)
class Sample:
    """The host at one moment."""

    minute: float
    deliveries: int
    memory_mb: float
    own_mb: float
    """Of it what no file stands behind: code and mapped files the kernel takes and brings back as it likes."""
    files: int
    threads: int
    database_mb: float
    bodies_mb: float
    """Of bodies that lie beside the database; what the file system gives them."""
    keys: int
    kept: int
    """Bodies that lie beside the database."""


@dataclass
class Soak(Load):
    """The load, with a sample of the host each minute."""

    host: HostSite
    pyrus: FakePyrus
    mix: Mix
    samples: list[Sample] = field(default_factory=list)
    each_s: float = 60.0

    def __post_init__(self) -> None:
        super().__init__(self.host, self.pyrus, self.mix)

    async def watch(self, began: float) -> None:
        """See `Load.watch`."""
        while True:
            sample = await asyncio.to_thread(self.sample, (time.monotonic() - began) / 60)
            self.samples.append(sample)
            print(json.dumps(asdict(sample)), flush=True)
            # between the rounds of retention, which come at whole minutes of the host's life
            await asyncio.sleep(self.each_s - (time.monotonic() - began + self.each_s / 2) % self.each_s)

    def sample(self, minute: float) -> Sample:
        """Look at the process and its folder."""
        assert self.host.process is not None
        proc = Path(f"/proc/{self.host.process.pid}")
        state = self.host.folder / "state"
        with closing(sqlite3.connect(f"file:{state / 'journal.db'}?mode=ro", uri=True)) as journal:
            (keys,) = journal.execute("select count(*) from delivery").fetchone()
            # what an index answers: a long read would keep the write-ahead log from being emptied
            (bodies,) = journal.execute("select count(*) from delivery where body_at is not null").fetchone()
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        return Sample(
            minute=round(minute, 2),
            deliveries=self.tally.sent,
            memory_mb=round(int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 2),
            own_mb=round(int(status["RssAnon"].split()[0]) * 1024 / 1e6, 2),
            files=len(list((proc / "fd").iterdir())),
            threads=len(list((proc / "task").iterdir())),
            database_mb=round(sum(each.stat().st_size for each in state.glob("journal.db*")) / 1e6, 2),
            bodies_mb=round(sum(each.stat().st_blocks * 512 for each in (state / "bodies").glob("*")) / 1e6, 2),
            keys=keys,
            kept=bodies,
        )


@dataclass(frozen=True)
class Verdict:
    """What the samples say."""

    slope_mb_h: float
    files: tuple[int, int]
    threads: tuple[int, int]
    database_mb: tuple[float, float]
    """The most in the first half after the warm-up, and in the second."""
    bodies_mb: tuple[float, float]
    wrong: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be."""
        found = list(self.wrong[:5])
        if self.slope_mb_h >= MOST_MB_PER_HOUR:
            found.append(f"memory grows by {self.slope_mb_h:.2f} MB/h")
        if self.files[1] - self.files[0] > 20:
            found.append(f"open files between {self.files[0]} and {self.files[1]}")
        for name, (before, after) in (("database", self.database_mb), ("bodies", self.bodies_mb)):
            if after > before * 1.05 + 1:
                found.append(f"the {name} grew from {before} to {after} MB")
        return found


def judge(samples: list[Sample], wrong: list[str]) -> Verdict:
    """What it was after the warm-up; the journal in two halves."""
    last = samples[-1].minute
    warm = [each for each in samples if each.minute >= min(WARM_UP_MIN, last / 2)]
    slope = statistics.linear_regression([each.minute / 60 for each in warm], [each.memory_mb for each in warm]).slope
    middle = (warm[0].minute + last) / 2
    halves = [[each for each in warm if each.minute <= middle], [each for each in warm if each.minute > middle]]
    return Verdict(
        slope_mb_h=round(slope, 2),
        files=(min(each.files for each in warm), max(each.files for each in warm)),
        threads=(min(each.threads for each in warm), max(each.threads for each in warm)),
        database_mb=tuple(max(each.database_mb for each in half) for half in halves),  # type: ignore[arg-type]
        bodies_mb=tuple(max(each.bodies_mb for each in half) for half in halves),  # type: ignore[arg-type]
        wrong=tuple(wrong),
    )


def fill(state: Path, events: int, seconds: float) -> None:
    """Keys of thirty days ago that fall due for dropping evenly over the time of the soak."""
    state.mkdir(mode=0o700)
    database = WritingConnection(state, SystemClock(), 30.0)
    database.open(make=True)
    oldest = time.time() - KEYS_S
    for first in range(0, events, 5000):
        some = range(first, min(first + 5000, events))
        with database.transaction() as connection:
            entries = [_entry(n, oldest + n * seconds / events) for n in some]
            write_all(connection, [(*values_of(entry), 0.0, None, None) for entry in entries])
    database.close()


def _entry(number: int, at: float) -> Entry:
    bot = f"b{number % len(KINDS)}"
    return Entry(
        id=f"{bot}:{number}:comment:{number}", bot=bot, state="answered", task=number, turn=str(number), comment=number, fence=1,
        owner="gone", seen=1, seen_at=at, runs=1, delivered=True, status=200, version="1", ms=1.0, created=at, updated=at,
    )  # fmt: skip


async def soaked(folder: Path, seconds: float, rate: float) -> Soak:
    """Run it."""
    pyrus = FakePyrus(SystemClock())
    pyrus.world.strict = False
    add_bots(pyrus, KINDS)
    server = FakeServer(pyrus)
    bots = sections(KINDS, server.base_url, "concurrency = 50; keep = 5m")
    host = HostSite(folder, PLUGINS + MORE, bots)
    host.program = [str(Path(sys.executable).parent / "bothost")]
    events = int(rate * seconds / DELIVERIES_OF_AN_EVENT)
    await asyncio.to_thread(fill, folder / "state", events, seconds)
    soak = Soak(host, pyrus, Mix(KINDS, first=10_000_000, text_bytes=TEXT_BYTES), each_s=min(60.0, seconds / 8))
    try:
        await asyncio.to_thread(host.start)
        await soak.run(seconds, rate)
        soak.samples.append(soak.sample(seconds / 60))
    finally:
        host.end()
        await server.refuse()
    return soak


def page(soak: Soak, verdict: Verdict, options: argparse.Namespace) -> str:
    """The section of the page."""
    rows = [
        f"| {each.minute:.0f} | {each.deliveries:,} | {each.memory_mb:.1f} | {each.files} | {each.threads} | {each.database_mb:.1f} "
        f"| {each.bodies_mb:.1f} | {each.keys:,} | {each.kept:,} |"
        for each in soak.samples
        if options.minutes < 10 or int(each.minute) % 5 == 0 or each is soak.samples[-1]
    ]
    outcomes = ", ".join(f"{count:,} {word}" for word, count in soak.tally.outcomes.most_common())
    told = [
        f"{datetime.now(UTC):%Y-%m-%d}, bothost {bothost.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {options.minutes:g} minutes at {options.rate:g} a second.",
        "",
        "| minute | deliveries | memory MB | files | threads | database MB | bodies beside MB | keys | bodies beside |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"- Events: {outcomes}; {len(verdict.wrong)} wrong.",
        f"- Memory after minute {WARM_UP_MIN}: {verdict.slope_mb_h:+.2f} MB/h (least squares; at most {MOST_MB_PER_HOUR:g}).",
        f"- Open files {verdict.files[0]} to {verdict.files[1]}, threads {verdict.threads[0]} to {verdict.threads[1]}.",
        f"- Journal at most {verdict.database_mb[0]} MB in the first half after minute {WARM_UP_MIN}, "
        f"{verdict.database_mb[1]} MB in the second; bodies beside it {verdict.bodies_mb[0]} and {verdict.bodies_mb[1]} MB.",
        f"- Verdict: {'; '.join(verdict.problems) or 'steady'}.",
    ]
    return "\n".join(told)


def main() -> int:
    """1 where something grows or an event is not accounted for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--page", action="store_true", help="put the result into docs/testing.md")
    parser.add_argument("--out", type=Path, help="write the result here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bothost-soak-") as folder:
        soak = asyncio.run(soaked(Path(folder), options.minutes * 60, options.rate))
    verdict = judge(soak.samples, soak.tally.wrong)
    text = page(soak, verdict, options)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    if options.page:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return int(bool(verdict.problems))


if __name__ == "__main__":
    sys.exit(main())
