"""Random bytes over the files of a journal that a host has open: it says so, and no acknowledged event is lost."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import free_port
from tests.kills.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.full


def readiness(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def written_over(path: Path, begin: int) -> None:
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(begin)
        file.write(os.urandom(size - begin))


def test_a_host_whose_journal_is_written_over_says_so_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    scene = Scene.made(tmp_path / "host", "")
    ini = scene.site.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("operator_port = 0", f"operator_port = {port}"))
    try:
        scene.site.start()
        busy, acknowledged = scene.task(), [scene.task()]
        scene.attempt(busy)
        scene.until_runs(busy, 1)
        assert scene.attempt(acknowledged[0]).result().status == 200
        for times, begin in enumerate((0, 9000), 1):
            written_over(scene.site.folder / "state" / "journal.db-wal", begin)
            scene.site.until(lambda: readiness(port)[0] == 503)
            acknowledged.append(scene.task())
            assert scene.attempt(acknowledged[-1]).result().status == 200
            said = [line["message"] for line in scene.site.lines() if "goes on in a new file" in line["message"]]
            assert len(said) == times
            assert all("written over under the host" in line and "all that the old one held" in line for line in said)
        scene.kill_and_start()
        for task in (busy, *acknowledged):
            scene.let_go(task)
        for task in acknowledged:
            scene.until_comment(task)
            assert scene.runs(task) == ["first"]
    finally:
        scene.end()
