"""The hook that is told of failed events, and is never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bothost.clock import SystemClock
from bothost.journal.entry import Entry
from bothost.operator.failure_hook import MOST_WAITING, FailureCommand, FailureNotifier, hook_of

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = Entry(
    id="refunds:5:comment:7",
    bot="refunds",
    task=5,
    state="failed",
    runs=3,
    error="refunds raised OSError\nTraceback …",
    updated=8.0,
)


def told_by(setting: str, *entries: Entry) -> None:
    async def tell() -> None:
        failures = FailureNotifier(hook_of(setting, SystemClock()))
        for entry in entries:
            failures.tell(entry)
        await failures.stop()

    asyncio.run(tell())


def command(tmp_path: Path, program: str) -> str:
    (tmp_path / "hook.py").write_text(program)
    return f"{sys.executable} {tmp_path / 'hook.py'} 'two words' $HOME ;"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that offers hooks."""
    (tmp_path / "pager_hooks.py").write_text(
        "told = []\ndef page(failure): told.append(failure['id'])\nasync def chat(failure): told.append(failure['task'])\n"
        "def fails(failure): raise RuntimeError('the pager is off')\n"
        "def leaves(failure): raise SystemExit(3)\ndef ends(failure): raise StopIteration\n"
        "async def breaks(failure): raise KeyboardInterrupt\n"
        "async def cancels(failure):\n    import asyncio\n    raise asyncio.CancelledError\n"
        "import threading\nover = threading.Event()\ndef hangs(failure): told.append(failure['id']); over.wait()\n"
        "def all_of(failure): told.append((failure['bot'], failure['count'], failure['first'], failure['last']))\n"
    )
    about = tmp_path / "pager_hooks-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pager-hooks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[bothost.on_failure]\nall = pager_hooks:all_of\npage = pager_hooks:page\nchat = pager_hooks:chat\nfails = pager_hooks:fails\nhangs = pager_hooks:hangs\n"
        "leaves = pager_hooks:leaves\nends = pager_hooks:ends\nbreaks = pager_hooks:breaks\ncancels = pager_hooks:cancels\ngone = pager_hooks:gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import pager_hooks  # type: ignore[import-not-found]

    yield pager_hooks
    sys.modules.pop("pager_hooks", None)


def test_a_command_gets_the_failure_as_json_and_its_words_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = f"import json, sys; open({str(out)!r}, 'w').write(json.dumps([sys.argv[1:], json.load(sys.stdin)]))"
    told_by(command(tmp_path, program), FAILED)
    words, failure = json.loads(out.read_text())
    assert words == ["two words", "$HOME", ";"]
    assert failure["id"] == "refunds:5:comment:7"
    assert (failure["bot"], failure["task"], failure["runs"]) == ("refunds", 5, 3)
    assert (failure["error"], failure["trace"]) == ("refunds raised OSError", "Traceback …")
    assert "body" not in failure


def test_an_entry_point_is_called_plain_or_async(installed: Any) -> None:
    told_by("page", FAILED)
    told_by("chat", FAILED)
    assert installed.told == ["refunds:5:comment:7", 5]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("fails", "the pager is off"),
        ("leaves", "PluginError: SystemExit: 3"),
        ("ends", "StopIteration"),
        ("breaks", "PluginError: KeyboardInterrupt"),
        ("cancels", "PluginError: asyncio.exceptions.CancelledError"),
        ("gone", "cannot be used"),
        ("no-such-program-anywhere", "No such file or directory: 'no-such-program-anywhere'"),
        ("'", "cannot be used"),
    ],
)
def test_a_broken_hook_is_a_log_line(installed: Any, caplog: pytest.LogCaptureFixture, setting: str, said: str) -> None:
    told_by(setting, FAILED)
    assert said in caplog.text


def test_a_function_that_hangs_takes_none_of_the_hosts_threads(installed: Any) -> None:
    async def scene() -> None:
        loop, free = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        failures = FailureNotifier(hook_of("hangs", SystemClock()), burst_s=0.0)
        for number in range(4):
            failures.tell(msgspec.structs.replace(FAILED, id=f"refunds:{number}", error=f"error {'x' * number}"))
        try:
            async with asyncio.timeout(20):
                while not installed.told:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(free.set)
        finally:
            installed.over.set()
        await failures.stop(0.0)

    asyncio.run(scene())


def test_a_command_that_fails_says_what_it_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told_by(command(tmp_path, "import sys; sys.exit('no route to the mail server')"), FAILED)
    assert "exit code 1: no route to the mail server" in caplog.text


def test_a_command_that_floods_its_errors_is_read_to_the_end_and_its_last_words_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = "import sys; sys.stderr.write('x' * 20_000_000); sys.exit('the last words')"
    told_by(command(tmp_path, program), FAILED)
    assert "exit code 1: " in caplog.text
    assert "the last words" in caplog.text
    assert len(caplog.text) < 1000


@pytest.mark.parametrize("leave", ["", "setsid "])
def test_a_command_that_hangs_does_not_hold_up_the_stop(tmp_path: Path, leave: str) -> None:
    """Neither does what it has started, although that holds its pipes; within its session that ends too."""
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\n{leave}sleep 60 &\necho $! > {tmp_path}/started\nwait\nsleep 60\n")
    hook.chmod(0o755)

    async def scene() -> float:
        failures = FailureNotifier(hook_of(str(hook), SystemClock()), burst_s=0.0)
        failures.tell(FAILED)
        while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text().strip():
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await failures.stop(0.0)
        return time.monotonic() - began

    assert asyncio.run(scene()) < 5.0
    started = Path(f"/proc/{(tmp_path / 'started').read_text().strip()}/stat")
    if leave:
        os.kill(int(started.parent.name), signal.SIGKILL)
    else:
        until = time.monotonic() + 10
        while started.exists() and started.read_text().split()[2] != "Z":
            assert time.monotonic() < until, "it has been killed, and ends when it is scheduled"


@pytest.mark.parametrize("turns", [2, 3, 4, 6])
def test_a_stop_in_the_middle_of_a_commands_start_ends_what_it_started(tmp_path: Path, turns: int) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text(f'#!/bin/sh\n[ "$1" ] && {{ touch {tmp_path}/started; sleep 60; exit; }}\n"$0" again &\nwait\n')
    hook.chmod(0o755)

    def alive() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(process.read_text())
        return [one for one in found if str(hook) in one]

    def wait_for(done: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not done():
            assert time.monotonic() < until
            time.sleep(0.01)  # the loop stands meanwhile, so that the start does not go on

    async def scene() -> None:
        told = asyncio.ensure_future(FailureCommand(str(hook), None).tell({}))
        for _ in range(turns):
            await asyncio.sleep(0)
        wait_for((tmp_path / "started").exists)
        told.cancel()
        with pytest.raises(asyncio.CancelledError):
            await told

    asyncio.run(scene())
    wait_for(lambda: not alive())


def test_a_command_that_leaves_something_running_is_done_when_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\nsleep 20 &\necho $! > {tmp_path}/left\necho told >&2\nexit 3\n")
    hook.chmod(0o755)
    began = time.monotonic()
    told_by(str(hook), FAILED)
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    assert "exit code 3: told" in caplog.text
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("setting", ["pagr", "/absent/hook --now", '""'])
def test_a_hook_that_is_nowhere_is_told_at_the_start(setting: str, caplog: pytest.LogCaptureFixture) -> None:
    assert hook_of(setting, SystemClock()) is not None
    assert "[host] on_failure: " in caplog.text
    assert "neither an entry point of group bothost.on_failure nor a command that can be run" in caplog.text


def test_a_command_that_can_be_run_is_not_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    hook_of(f"{sys.executable} -c pass", SystemClock())
    assert caplog.text == ""


def test_without_a_hook_nothing_is_kept() -> None:
    told_by("", *[FAILED] * 5)


def test_more_than_a_thousand_waiting_failures_are_counted(caplog: pytest.LogCaptureFixture, installed: Any) -> None:
    told_by("chat", *[msgspec.structs.replace(FAILED, bot=f"bot{n}") for n in range(MOST_WAITING + 20)])
    assert len(installed.told) == MOST_WAITING
    assert "was not told of 20 failed events" in caplog.text


def test_a_burst_is_told_as_one_with_its_count_and_times(installed: Any) -> None:
    burst = [msgspec.structs.replace(FAILED, id=f"refunds:{n}:comment:7", updated=10.0 + n) for n in range(40)]
    other = msgspec.structs.replace(FAILED, bot="rulez")
    told_by("all", *burst[1:], other, burst[0])
    assert installed.told == [("refunds", 40, 10.0, 49.0), ("rulez", 1, 8.0, 8.0)]
