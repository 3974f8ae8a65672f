"""A fault in a loop of a real host: the loop goes on, what waits for it is done, and /readyz says so meanwhile."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import free_port
from tests.kills import scene as scene_module
from tests.kills.scene import PLUGINS, Scene

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.full

FAULTY = """
def faulty(module, name, method):
    import importlib
    owner = getattr(importlib.import_module(module), name)
    whole = getattr(owner, method)
    def odd(*arguments, **keys):
        if (HERE / "raise").exists():
            raise RuntimeError("nobody foresaw it")
        return whole(*arguments, **keys)
    setattr(owner, method, odd)
"""
LOOPS = {
    "poller": ("bothost.pipeline.journal_poller", "JournalPoller", "look"),
    "facts": ("bothost.host.facts", "HostFacts", "_look"),
    "journal": ("bothost.journal.sqlite.transactions", "Transactions", "begun"),
}


def readiness(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_a_loop_that_fails_goes_on_when_it_can(tmp_path: Path, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_module, "PLUGINS", f"{PLUGINS}{FAULTY}faulty{LOOPS[loop]}\n")
    port = free_port()
    scene = Scene.made(tmp_path / "host", "")
    ini = scene.site.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("operator_port = 0", f"operator_port = {port}"))
    flag = scene.site.folder / "raise"
    try:
        scene.site.start()
        busy, parked = scene.task(), scene.task()
        assert scene.attempt(busy).result().status == 200
        assert scene.attempt(parked).result().status == 200
        scene.until_runs(busy, 1)
        flag.touch()
        scene.site.until(lambda: loop in readiness(port)[1].get("loops_down", ()), 60)
        assert readiness(port)[0] == 503
        scene.site.said(f"a fault of bothost in the loop {loop}")
        flag.unlink()
        for task in (busy, parked):
            scene.let_go(task)
        scene.until_comment(busy)
        scene.until_comment(parked)
        scene.site.until(lambda: readiness(port)[0] == 200, 90)
        assert [scene.runs(task) for task in (busy, parked)] == [["first"], ["first"]]
    finally:
        scene.end()
