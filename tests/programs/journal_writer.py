"""A process with a journal: writes what it is told to and says each key once it is durable, until it is killed.

Usage: python -m tests.programs.journal_writer WHAT FOLDER URL OWN-FOLDER [NUMBER]
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.journal.journals import BODY, PATIENT, QUICK, JournalMaker, answered, change, make_entry, parked

from bothost.errors import JournalAway

if TYPE_CHECKING:
    from bothost.journal import Journal


def say(*words: object) -> None:
    """Say something durable to whoever reads our stdout; a line that is cut off by a kill was not said."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def acknowledge(store: Journal, number: int) -> None:
    """Park events as fast as it goes, eight at a time; each is said when it may be acknowledged."""

    async def one(queue: int) -> None:
        count = 0
        while True:
            entry = parked(number * 10_000_000 + count * 8 + queue, task=queue)
            assert await store.save(entry, BODY if count % 3 else b"x" * 9000)
            say("acknowledged", entry.id)
            count += 1

    await asyncio.gather(*(one(queue) for queue in range(8)))


async def hold(store: Journal, _number: int) -> None:
    """Claim three events, one acknowledged, one that posts, one unacknowledged; then live until killed."""
    _, late = await store.claim(make_entry(1, task=1), BODY)
    await store.save(change(late, door="api"))
    _, posting = await store.claim(make_entry(2, task=2), BODY)
    await store.save(change(posting, door="api", answer=b'{"text":"x"}', post_begun=5.0))
    await store.claim(make_entry(3, task=3), BODY)
    say("holding", store.owner)
    await asyncio.Event().wait()


async def run_forever(store: Journal, _number: int) -> None:
    """Claim one that is due, and run it until killed."""
    while not (rows := await store.due({"refunds": 1}, 1)):
        await asyncio.sleep(0.01)
    say("claimed", rows[0].id)
    await asyncio.Event().wait()


async def wake_up(store: Journal, _number: int) -> None:
    """Claim one, be frozen from outside, and try to record its outcome afterwards."""
    _, mine = await store.claim(make_entry(1, task=1), BODY)
    mine = change(mine, door="api")
    await store.save(mine)
    say("holding", store.owner)
    await asyncio.to_thread(sys.stdin.readline)
    say("alive", store.alive())
    say("saved", await store.save(answered(mine)))


async def work_off(store: Journal, _number: int) -> None:
    """Run what is due, each at once, and say so."""
    while True:
        for row in await store.due({"refunds": 20}, 20):
            say("ran", row.id, row.fence)
            assert await store.save(answered(row))
        await store.wait_hint(0.005)


async def tick(store: Journal, number: int) -> None:
    """One of several schedulers: put every tick up to `number`, run what is due."""
    for when in range(number):
        entry = parked(id=f"timer:refunds:remind:{when}", kind="timer", task=0, turn=None, created=float(when))
        if await store.find(entry.id) is None:
            await store.save(entry)
        for row in await store.due({"refunds": 3}, 3):
            say("ran", row.id)
            assert await store.save(answered(row))


async def fill(store: Journal, number: int) -> None:
    """Write until the disk is full, which is `number` bytes a file; then say what goes on and heals."""
    count = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))
    try:
        while True:
            entry = parked(count, task=count)
            assert await store.save(entry, b"y" * 3000)
            say("acknowledged", entry.id)
            count += 1
    except JournalAway as error:
        say("away", error)
    store.note(parked(900_001, task=900_001), b"noted")
    found = await store.find(parked(0, task=0).id)
    say("reads", found is not None)
    try:
        await store.save(parked(900_002, task=900_002), b"y" * 3000)
        say("saved though full")
    except JournalAway:
        say("away still")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(500):
        try:
            await store.save(parked(900_003, task=900_003), b"y" * 3000)
            break
        except JournalAway:
            await asyncio.sleep(0.02)
    say("acknowledged", "refunds:900003:comment:900003")
    say("noted", await store.body("refunds:900001:comment:900001"))


async def fork(store: Journal, _number: int) -> None:
    """Fork a child, as plugins do, that says what it holds of the journal and outlives us."""
    await store.claim(make_entry(1, task=1), b"z" * 9000)
    reader, writer = os.pipe()
    if os.fork() == 0:
        links: list[str] = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the listing's own is gone again
                links.append(os.readlink(f"/proc/self/fd/{name}"))
        ours = [link for link in links if "journal" in link or "owners" in link or "bodies" in link]
        os.write(writer, repr(ours).encode() + b"\n")
        signal.pause()
    say("child", os.read(reader, 4000).decode().strip())
    say("saved", await store.save(parked(2, task=2), BODY))
    await asyncio.Event().wait()


async def read_only(journal: JournalMaker) -> None:
    """Open a journal that may not be written, then one that may again. As root this process becomes nobody first."""
    folder = journal.folder
    async with journal.open() as store:
        await store.save(parked(1), BODY)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
    (folder / "journal.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        async with journal.open():
            say("opened")
    except JournalAway as error:
        say("away", error)
    folder.chmod(0o700)
    (folder / "journal.db").chmod(0o600)
    async with journal.open() as store:
        say("found", (await store.find(parked(1).id)) is not None, await store.save(parked(2, task=8), BODY))


async def main() -> None:
    what, folder, url, own, *rest = sys.argv[1:]
    number = int(rest[0]) if rest else 0
    if what == "read_only":
        await read_only(JournalMaker(Path(folder)))
        return
    timing = PATIENT if what in ("acknowledge", "fill", "work_off", "tick") else QUICK
    async with JournalMaker(Path(folder), url).open(timing, folder=Path(own)) as store:
        work = {
            "acknowledge": acknowledge, "hold": hold, "run_forever": run_forever,
            "wake_up": wake_up, "work_off": work_off, "tick": tick, "fill": fill,
            "fork": fork,
        }[what]  # fmt: skip
        await work(store, number)


if __name__ == "__main__":
    asyncio.run(main())
