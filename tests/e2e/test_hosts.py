"""Every host in view: the list of processes, changes that hold everywhere, hooks that are told of bots."""

from __future__ import annotations

import json

import pytest
from tests.e2e.site import free_port

PLUGINS = """
import os, pathlib
HERE = pathlib.Path(__file__).parent
class greet(Plugin):
    def open(self):
        with (HERE / "opened").open("a") as file:
            file.write(f"{os.getpid()}\\n")
    async def handle(self, event):
        return "hello"
class broken(Plugin):
    async def open(self):
        if not (HERE / "mended").exists():
            raise OSError("the other side is down")
    async def handle(self, event):
        return "well again"
"""


def test_hosts_lists_each_process_and_pause_and_reload_wait_for_all(site):
    host = site(PLUGINS, "one: plugin = greet; login = bot@one", "processes = 2")
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    rows = host.until(lambda: len(found := [row for row in host.command("hosts") if row["plugins"]]) == 2 and found)
    assert [(row["process"], row["lease"], row["plugins"]) for row in rows] == [
        ("0", "ok", {"greet": "1.0"}),
        ("1", "ok", {"greet": "1.0"}),
    ]
    told = host.command("pause", "one", "--reason", "lunch")
    assert (told["processes"], told["behind"]) == (2, [])
    assert {host.deliver("one", task=task, comment=task).status for task in range(1, 9)} == {503}
    assert host.command("resume", "one")["behind"] == []
    assert {host.deliver("one", task=task, comment=task, attempt="2/3").status for task in range(1, 9)} == {200}
    opened = host.wrote("opened").split()
    assert sorted(host.command("restart", "one")["done"].values()) == ["restarted", "restarted"]
    assert sorted(host.wrote("opened").split()) == sorted(opened * 2), "each process opened the plugin once more"
    done = host.command("reload", "--wait")
    assert sorted(done["done"].values()) == ["1 bot; nothing has changed", "1 bot; nothing has changed"]
    ini = host.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("plugin = greet", "plugin = gret"))
    failed = host.command("reload", "--wait", code=1)
    kept = "1 bot; kept as they were: one; not as bots.ini says: one: "
    assert all(text.startswith(kept) for text in failed["done"].values()), failed
    info = host.folder / "handlers-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: handlers\nVersion: 2.0\n")
    host.command("reload", "--wait", code=1)
    notes = host.until(lambda: all(told := [row["notes"] for row in json.loads(host.text("hosts", "--json"))]) and told)
    assert notes == ["greet: installed 2.0, running 1.0: restart"] * 2
    assert host.stop() == 0
    assert host.command("hosts") == []


def test_on_trouble_is_told_once_when_it_begins_and_once_when_it_ends(site):
    host = site(PLUGINS, "one: plugin = greet\nbad: plugin = broken")
    hook = host.folder / "hook.sh"
    hook.write_text(f"#!/bin/sh\ncat >> {host.folder}/told; echo >> {host.folder}/told\n")
    hook.chmod(0o755)
    ini = host.folder / "bots.ini"
    ini.write_text(
        ini.read_text().replace("[host]\n", f"[host]\non_trouble = {hook}\n").replace("operator_port = 0\n", "")
    )
    ini.write_text(ini.read_text().replace("[host]\n", f"[host]\noperator_port = {free_port()}\n"))
    host.start()
    (first,) = [json.loads(line) for line in host.wrote("told").splitlines()]
    assert (first["bot"], first["trouble"], first["back"]) == ("bad", "plugin error", False)
    host.stop()
    host.start()
    (host.folder / "mended").write_text("yes")
    told = host.until(lambda: len(lines := host.wrote("told").splitlines()) == 2 and lines)
    back = json.loads(told[1])
    assert (back["bot"], back["trouble"], back["back"]) == ("bad", "plugin error", True)


TROUBLES = """
import os, pathlib, time
HERE = pathlib.Path(__file__).parent
async def dies(event):
    os._exit(3)
def hangs(event):
    while not (HERE / "free").exists():
        time.sleep(0.02)
async def slow(event):
    await asyncio.sleep(0.5)
    return "too late"
"""
BOTS = """
dies: plugin = dies; run = process; on_error = ignore; login = bot@dies
hangs: plugin = hangs; concurrency = 1; timeout = 300ms; on_error = ignore; login = bot@hangs
slow: plugin = slow; answer_within = 200ms; order = none
"""


@pytest.mark.full
def test_on_trouble_is_told_of_quarantine_of_hanging_runs_and_of_replies_that_are_lost(site):
    host = site(f"import asyncio\n{TROUBLES}", BOTS)
    hook = host.folder / "hook.sh"
    hook.write_text(f"#!/bin/sh\ncat >> {host.folder}/told; echo >> {host.folder}/told\n")
    hook.chmod(0o755)
    ini = host.folder / "bots.ini"
    port = f"[host]\non_trouble = {hook}\noperator_port = {free_port()}\n"
    ini.write_text(ini.read_text().replace("operator_port = 0\n", "").replace("[host]\n", port))
    host.start()

    def told() -> dict[tuple[str, str], bool]:
        lines = [json.loads(line) for line in (host.folder / "told").read_text().splitlines()]
        assert len({(one["bot"], one["back"]) for one in lines}) == len(lines), lines
        return {(one["bot"], one["trouble"]): one["back"] for one in lines}

    (host.folder / "told").touch()
    for number in range(3):
        host.deliver("dies", task=1 + number, comment=1)
    host.deliver("hangs", task=10, comment=1)
    host.deliver("slow", task=20, comment=1, attempt="3/3")
    begun = [("dies", "quarantined"), ("hangs", "stuck"), ("slow", "late replies fail")]
    assert host.until(lambda: len(found := told()) == 3 and found) == dict.fromkeys(begun, False)
    (host.folder / "free").touch()
    host.command("resume", "dies")
    assert host.until(lambda: sum((found := told()).values()) == 2 and found) == {
        begun[0]: True, begun[1]: True, begun[2]: False,
    }  # fmt: skip
    assert host.stop() == 0
