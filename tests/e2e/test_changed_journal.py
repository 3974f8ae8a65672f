"""A start on an empty journal is refused while the last one used here still holds open events."""

from __future__ import annotations

import subprocess
import sys

PLUGINS = """
import asyncio
async def slow(event):
    await asyncio.sleep(3600)
"""


def refused(host) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bothost", "serve", "--config", str(host.folder / "bots.ini")],
        env=host.environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode not in (0, -15)
    return done.stderr


def test_another_state_folder_is_refused_until_the_journal_was_copied(site):
    host = site(PLUGINS, "one: plugin = slow; answer_within = 1s; login = bot@x", "drain = 0s\n").start()
    assert host.deliver("one", task=71, comment=1).status == 200
    assert host.stop() == 0
    ini = host.folder / "bots.ini"
    before = ini.read_text()
    ini.write_text(before.replace("[host]\n", "[host]\nstate = elsewhere\n"))
    said = refused(host)
    assert "still holds 1 open events" in said
    assert f"bothost journal copy {host.folder / 'state'} {host.folder / 'elsewhere'}" in said
    host.command("journal", "copy", str(host.folder / "state"), str(host.folder / "elsewhere"))
    host.start()
    assert [one["task"] for one in host.command("deliveries", "list")] == [71]
    assert host.stop() == 0
    ini.write_text(before)
    host.start()  # the old folder is not empty
    assert host.stop() == 0


def test_a_journal_in_a_database_that_cannot_be_read_is_not_left_without_a_word(site):
    host = site(PLUGINS, "one: plugin = slow")
    (host.folder / "state").mkdir(mode=0o700)
    (host.folder / "state" / "journal-in-use").write_text("postgresql://127.0.0.1:1/bots\n")
    said = refused(host)
    assert "postgresql://127.0.0.1:1/bots, may still hold open events" in said
    (host.folder / "state" / "journal-in-use").unlink()
    host.start()
    assert host.stop() == 0
