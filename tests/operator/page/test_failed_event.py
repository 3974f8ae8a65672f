"""A failed event tells the hook once, whoever failed it: from the delivery to a command's standard input."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import TYPE_CHECKING

from tests.operator.page.site import SECRET, TOKEN, Site

from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_hook_is_told_once_of_a_failed_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_bot.py").write_text(
        "def answer(event):\n    raise OSError('the share is away: ' + event.raw['access_token'][:30])\n"
    )
    about = tmp_path / "failing_bot-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-bot\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bothost.plugins]\nfailing = failing_bot:answer\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "told"
    (tmp_path / "hook.py").write_text(f"import sys; open({str(out)!r}, 'a').write(sys.stdin.read() + '\\n')")
    ini = (
        f"[host]\noperator_token = {TOKEN}\ndrain = 1s\non_failure = {sys.executable} {tmp_path / 'hook.py'}\n"
        f"[bot:failing]\nplugin = failing\nsecret = {SECRET}\non_error = ignore\n"
    )
    folder = tmp_path / "host"
    folder.mkdir()
    site = Site(folder, ini).start()
    try:
        body = json.dumps(
            {"task_id": 5, "access_token": "a-token-that-nobody-sees", "task": {"id": 5, "comments": [{"id": 6}]}}
        )
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", site.public_port, timeout=20)
            connection.request("POST", "/failing", body, {"X-Pyrus-Sig": sign(body.encode(), SECRET)})
            assert connection.getresponse().status == 200
            connection.close()
        deadline = time.monotonic() + 10
        while not out.exists() or not out.read_text().endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        site.stop()
        sys.modules.pop("failing_bot", None)
    (line,) = out.read_text().splitlines()
    told = json.loads(line)
    assert told["id"] == "failing:5:comment:6"
    assert "the share is away" in told["error"]
    assert "a-token-that-nobody-sees" not in line
