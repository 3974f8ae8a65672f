"""A bot in a process of its own: whatever its plugin does to that process, the host and its other bots do not mind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import bothost
from bothost.clock import SystemClock
from bothost.errors import ConfigError, PluginError
from bothost.plugins.event import RunContext
from bothost.pyrus.envelope import decode
from bothost.pyrus.rest.requests import ApiRequest, ApiResponse
from bothost.pyrus_client.api import Pyrus
from bothost.runners import RunResult
from bothost.runners.process.log_forwarding import relay
from bothost.runners.process.protocol import LoadPlugin
from bothost.runners.process.runner import ChildEvents, ChildRunner
from bothost.runners.process.spawner import EXEC_AT_MOST, Spawner, StartedProcess

PLUGIN = """
import asyncio, ctypes, os, re, sys, time
from bothost import Event, Plugin, Reply, Settings, every, on

class Rules(Settings):
    word: str = "hello"
    needs: str = "/"

class Careless(Plugin[Rules]):
    def open(self):
        print("opened", self.settings.word)
        if not os.path.exists(self.settings.needs):
            raise RuntimeError("needs " + self.settings.needs)

    def close(self):
        time.sleep(0.2)
        print("closed", self.settings.word)

    async def handle(self, event: Event):
        return await getattr(self, event.task["do"])(event)

    @on(form=7)
    def plain(self, event: Event):
        return getattr(self, event.task["do"])(event)

    async def says(self, event):
        return f"{self.settings.word} from {event.bot}, attempt {event.attempt} {event.rerun}"
    async def pid(self, event):
        return str(os.getpid())
    async def exits(self, event):
        os._exit(3)
    async def segfaults(self, event):
        ctypes.string_at(0)
    async def raises(self, event):
        raise ValueError("no such thing")
    async def sleeps(self, event):
        await asyncio.sleep(3600)
    async def waits(self, event):
        await asyncio.sleep(0.5)
        return "waited"
    async def spins(self, event):
        re.match(r"(a+)+b", "a" * 60)
    async def eats(self, event):
        block = bytearray(4 << 30)
        return str(len(block))
    def blocks(self, event):
        time.sleep(3600)
    async def deaf(self, event):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
    async def about(self, event):
        score = open("/proc/self/oom_score_adj").read().strip()
        return " ".join([score, os.readlink("/proc/self/fd/0"), *sys.argv[1:], str("bots.ini" in repr(sys.argv))])
    async def logs(self, event):
        self.log.warning("low on %s", "paper", extra={"tray": 2})
        try:
            1 / 0
        except ZeroDivisionError:
            self.log.exception("cannot divide")
    async def prints_and_dies(self, event):
        print("my last words")
        ctypes.string_at(0)
    async def environment(self, event):
        return ",".join(sorted(name for name in os.environ if name.endswith("SECRET")))
    async def prints(self, event):
        print("a line of mine"); sys.stdout.flush()
    async def asks(self, event):
        task = await event.pyrus.task(5)
        return task.text
    async def fails_to_ask(self, event):
        from bothost import errors
        try:
            await event.pyrus.task(404)
        except errors.CallRefused as error:
            return f"{type(error).__name__} {error.status}"
    async def uploads(self, event):
        upload = await event.pyrus.upload(b"x" * 300_000, "x.bin")
        return upload.guid
    async def downloads(self, event):
        total = 0
        async for piece in event.pyrus.download(7):
            total += len(piece)
        return str(total)

    @every("1h")
    def sweep(self):
        print("swept")

def broken(event):
    return ""

raise_at_import = os.environ.get("CARELESS_IMPORT")
if raise_at_import == "raise":
    raise RuntimeError("not today")
if raise_at_import == "die":
    os._exit(9)
"""


class Sender:
    """Pyrus at the rim: answers what the plugin asks for."""

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        from bothost.errors import CallRefused

        if request.path.endswith("404"):
            raise CallRefused("no such task", status=404)
        if content is not None:
            size = sum([len(piece) async for piece in content()])
            return ApiResponse(200, {}, json.dumps({"guid": f"got-{size}", "md5_hash": ""}).encode())
        return ApiResponse(200, {}, b'{"task": {"id": 5, "text": "from Pyrus"}}')

    async def stream(self, _request: ApiRequest) -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"y" * 10_000


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The careless plugin, installed where children look."""
    (tmp_path / "careless.py").write_text(PLUGIN)
    info = tmp_path / "careless-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[bothost.plugins]\ncareless = careless:Careless\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return tmp_path


class Recording(Spawner):
    """Remembers what it started, so that a test can wait for its end."""

    def __init__(self, scene: Scene, hidden: frozenset[str], said: Callable[[str, str], None]) -> None:
        super().__init__(hidden, said)
        self._scene = scene

    async def start(self, bot: str) -> StartedProcess:
        process = await super().start(bot)
        self._scene.started.append(process)
        return process


class Scene:
    """One runner on a running loop."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.said: list[str] = []
        self.quarantined: list[str] = []
        self.broken: list[Exception] = []
        self.deaths: list[int] = []
        self.ended = 0
        self.started: list[StartedProcess] = []
        self.spawner = Recording(self, frozenset({"OTHER_SECRET"}), lambda _bot, line: self.said.append(line))
        hello = LoadPlugin(
            bot="careless", plugin="careless", settings={}, lines={}, line=1, login="",
            base=str(folder), resolved={}, folder=str(folder / "own"), concurrency=4,
        )  # fmt: skip
        from msgspec.structs import replace

        self.pyrus = Pyrus(Sender(), SystemClock())
        care = ChildEvents("bots.ini", lambda: self.deaths.append(1), self.quarantined.append, self.broken.append)
        self.runner = ChildRunner(replace(hello, **changes), self.spawner, SystemClock(), care, self.pyrus)

    def _ended(self, returned: bytes = b"{}") -> None:
        self.ended += 1

    async def run(self, do: str, limit_s: float = 20.0, form: int = 1) -> RunResult:
        field = {"id": 1, "code": "do", "type": "text", "value": do}
        body = {"task_id": 5, "user_id": 9, "task": {"id": 5, "form_id": form, "fields": [field]}}
        clock = SystemClock()
        context = RunContext(
            id="careless:5:comment:1", bot="careless", attempt=2, rerun="crash",
            deadline=datetime.now(UTC) + timedelta(seconds=limit_s), clock=clock, user_id=9, pyrus=self.pyrus,
        )  # fmt: skip
        return await self.runner.run(decode(json.dumps(body).encode()), context, limit_s, self._ended)

    async def says(self, do: str, limit_s: float = 20.0) -> str:
        ran = await self.run(do, limit_s)
        assert ran.failure is None, (ran.failure, self.said[-3:])
        return json.loads(ran.reply).get("text", "")


def play(folder: Path, act: Callable[[Scene], Coroutine[object, object, None]], **changes: object) -> Scene:
    holder: list[Scene] = []

    async def scene() -> None:
        made = Scene(folder, **changes)
        holder.append(made)
        try:
            await act(made)
        finally:
            await made.runner.close()
            made.spawner.close()
            for process in made.started:
                await process.ended
                while process.printing is not None and not process.printing.is_closing():
                    await asyncio.sleep(0.01)  # what it printed last is still on its way
                if process.printing is not None:
                    process.printing.close()
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(scene(), 40))
    return holder[0]


def test_a_handler_runs_in_a_process_of_its_own(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        assert await scene.says("says") == "hello from careless, attempt 2 crash"
        pid = int(await scene.says("pid"))
        assert pid != os.getpid()
        assert int(await scene.says("pid")) == pid
        while scene.ended < 3:
            await asyncio.sleep(0)

    play(installed, act)


@pytest.mark.parametrize("forked", [False, True], ids=["started", "forked"])
def test_what_lies_in_the_working_directory_is_no_module_of_a_process(
    installed: Path, monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    if forked:
        monkeypatch.setattr("bothost.runners.process.spawner.EXEC_AT_MOST", 0)
    here = installed / "here"
    here.mkdir()
    for name in ("secrets", "msgspec", "bothost"):
        (here / f"{name}.py").write_text("raise SystemExit('the working directory is on the path')")
    monkeypatch.chdir(here)

    async def act(scene: Scene) -> None:
        assert await scene.says("says") == "hello from careless, attempt 2 crash"

    play(installed, act)


def test_every_process_of_the_host_is_started_without_the_working_directory_on_its_path() -> None:
    commands = [
        found
        for file in Path(bothost.__file__).parent.rglob("*.py")
        for found in re.findall(r"\[sys\.executable,[^\]]*\]", file.read_text("utf-8"))
        if '"pytest"' not in found  # an author's own test, in the author's folder
    ]
    assert len(commands) >= 4
    assert [command for command in commands if not re.match(r'\[sys\.executable, "(-P|-I)"', command)] == []


def test_opening_reports_version_and_timers_and_leaves_no_process(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.runner.open()
        assert scene.runner.report.version == "1.2"
        assert [timer.name for timer in scene.runner.report.timers] == ["sweep"]
        assert scene.runner._child is None

    play(installed, act)


def test_wrong_settings_are_reported_as_in_the_host(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        with pytest.raises(ConfigError, match="wrod"):
            await scene.runner.open()

    play(installed, act, settings={"wrod": "x"}, lines={"wrod": 7})


@pytest.mark.parametrize(("how", "told"), [("raise", "not today"), ("die", "exit code 9")])
def test_a_plugin_that_cannot_be_loaded_says_why(
    installed: Path, monkeypatch: pytest.MonkeyPatch, how: str, told: str
) -> None:
    monkeypatch.setenv("CARELESS_IMPORT", how)

    async def act(scene: Scene) -> None:
        with pytest.raises(PluginError, match=told):
            await scene.runner.open()

    play(installed, act)


@pytest.mark.parametrize(("do", "cause"), [("exits", "exit code 3"), ("segfaults", "SIGSEGV")])
def test_a_death_is_a_failed_run_with_its_cause_and_the_next_run_has_a_new_process(
    installed: Path, do: str, cause: str
) -> None:
    async def act(scene: Scene) -> None:
        beside = asyncio.ensure_future(scene.run("sleeps"))
        while not scene.runner._child or not scene.runner._child.runs:
            await asyncio.sleep(0.01)
        ran = await scene.run(do)
        assert ran.failure is not None
        assert ran.failure.why == "died"
        assert cause in ran.failure.text
        other = await beside
        assert other.failure is not None
        assert other.failure.why == "died"
        assert scene.ended == 2
        assert await scene.says("says") == "hello from careless, attempt 2 crash"

    play(installed, act)


def test_three_deaths_within_an_hour_are_told(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(3):
            assert (await scene.run("exits")).failure is not None
        assert len(scene.quarantined) == 1
        assert "3 times within an hour" in scene.quarantined[0]

    play(installed, act)


def test_deaths_in_other_workers_count_too_and_whoever_sees_the_last_one_tells(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(5):
            scene.runner.died_elsewhere()
        assert scene.quarantined == []
        assert (await scene.run("exits")).failure is not None
        assert "3 times within an hour; the last time it ended with exit code 3" in scene.quarantined[0]

    play(installed, act)


def test_an_exception_is_a_failure_with_the_plugins_line(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        failure = (await scene.run("raises")).failure
        assert failure is not None
        assert failure.why == "raised"
        assert "ValueError: no such thing" in failure.text
        assert "careless.py" in failure.trace

    play(installed, act)


def test_an_async_run_past_its_time_is_cancelled_and_the_process_lives(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        pid = await scene.says("pid")
        failure = (await scene.run("sleeps", 0.3)).failure
        assert failure is not None
        assert failure.why == "timeout"
        assert await scene.says("pid") == pid

    play(installed, act)


def test_code_that_cannot_be_cancelled_ends_with_its_process(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        begun = time.monotonic()
        failure = (await scene.run("spins", 0.3)).failure
        assert failure is not None
        assert failure.why == "timeout"
        assert time.monotonic() - begun < 10
        assert await scene.says("says") == "hello from careless, attempt 2 crash"

    play(installed, act)


@pytest.mark.parametrize("form", [1, 7], ids=["async", "plain"])
def test_what_does_not_end_in_time_ends_with_its_process_and_may_run_again(installed: Path, form: int) -> None:
    async def act(scene: Scene) -> None:
        beside = asyncio.ensure_future(scene.run("sleeps"))
        failure = (await scene.run("deaf" if form == 1 else "blocks", 0.3, form)).failure
        assert failure is not None
        assert (failure.why, failure.may_rerun) == ("timeout", True)
        assert "did not end within 0.3 s" in failure.text
        assert "its process was ended" in failure.text
        other = (await beside).failure
        assert other is not None
        assert (other.why, other.may_rerun) == ("died", True)
        assert await scene.says("says") == "hello from careless, attempt 2 crash"
        while scene.ended < 3:
            await asyncio.sleep(0.01)
        assert scene.deaths == [1]

    play(installed, act)


def test_a_cancelled_run_that_goes_on_ends_with_its_process(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        running = asyncio.ensure_future(scene.run("deaf", 0.5))
        while not scene.runner._child or not scene.runner._child.runs:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while scene.ended == 0:
            await asyncio.sleep(0.01)
        assert scene.deaths == [1]

    play(installed, act)


def test_a_plugin_that_does_not_open_in_its_process_is_told_and_leaves_none_behind(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.runner.open()
        failure = (await scene.run("says")).failure
        assert failure is not None
        assert "RuntimeError: needs" in failure.text
        assert [type(error) for error in scene.broken] == [PluginError]
        assert scene.ended == 1
        for process in scene.started:
            await process.ended
        with pytest.raises(PluginError, match="needs"):
            await scene.runner.start()
        (installed / "key").write_text("here")
        await scene.runner.start()
        assert await scene.says("says") == "hello from careless, attempt 2 crash"

    play(installed, act, settings={"needs": str(installed / "key")}, lines={"needs": 3})


def test_a_child_is_the_first_to_go_reads_nothing_and_knows_no_bots_ini(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        score, stdin, _descriptor, parent, named = (await scene.says("about")).split()
        assert (score, stdin, parent, named) == ("800", "/dev/null", str(os.getpid()), "False")

    play(installed, act)


def test_its_log_records_come_with_level_fields_and_traceback(
    installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def act(scene: Scene) -> None:
        await scene.run("logs")
        while not any("cannot divide" in line for line in scene.said):
            await asyncio.sleep(0.01)

    scene = play(installed, act)
    for line in scene.said:
        relay("careless", line)
    low, divide = (record for record in caplog.records if record.name == "bothost.plugin")
    assert (low.levelname, low.getMessage(), low.tray, low.bot) == ("WARNING", "low on paper", 2, "careless")
    assert divide.levelname == "ERROR"
    assert "ZeroDivisionError" in divide.exc_text


def test_what_it_printed_before_it_died_and_where_it_died_is_told(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        assert (await scene.run("prints_and_dies")).failure is not None
        while not any("in prints_and_dies" in line for line in scene.said):
            await asyncio.sleep(0.01)
        assert "my last words" in scene.said
        assert any("Segmentation fault" in line for line in scene.said)

    play(installed, act)


def test_a_process_whose_memory_is_full_is_replaced_and_that_is_no_death(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        pid = await scene.says("pid")
        for _ in range(4):  # one more than the deaths that quarantine a bot
            failure = (await scene.run("eats")).failure
            assert failure is not None
            assert "reached memory = 1024M: MemoryError" in failure.text
            before, pid = pid, await scene.says("pid")
            assert pid != before

    play(installed, act, memory=1 << 30)


def test_the_environment_is_without_the_hosts_secrets(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_SECRET", "not for plugins")
    monkeypatch.setenv("MINE_SECRET", "named by nobody")

    async def act(scene: Scene) -> None:
        assert await scene.says("environment") == "MINE_SECRET"

    play(installed, act)


def test_at_the_end_it_closes_its_plugin_which_it_had_opened(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.runner.open()
        await scene.says("says")

    scene = play(installed, act)
    assert [line for line in scene.said if line.endswith("hello")] == ["opened hello", "closed hello"]


def test_what_it_prints_goes_to_the_host(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.run("prints")
        while "a line of mine" not in scene.said:
            await asyncio.sleep(0.01)

    play(installed, act)


def test_api_calls_are_made_by_the_host(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        assert await scene.says("asks") == "from Pyrus"
        assert await scene.says("fails_to_ask") == "CallRefused 404"

    play(installed, act)


def test_files_go_up_and_down_in_pieces(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        assert (await scene.says("uploads")).startswith("got-30")
        assert await scene.says("downloads") == "400000"

    play(installed, act)


def test_a_cancelled_run_ends_in_the_child_too(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        running = asyncio.ensure_future(scene.run("sleeps"))
        while not scene.runner._child or not scene.runner._child.runs:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while scene.ended == 0:
            await asyncio.sleep(0.01)
        assert await scene.says("says") == "hello from careless, attempt 2 crash"

    play(installed, act)


def test_beyond_eight_a_zygote_forks_them(installed: Path) -> None:
    async def act(scene: Scene) -> None:
        processes = [await scene.spawner.start("careless") for _ in range(EXEC_AT_MOST)]
        assert scene.spawner._zygote is None
        assert await scene.says("says") == "hello from careless, attempt 2 crash"
        assert scene.spawner._zygote is not None
        assert (await scene.run("exits")).failure.text.endswith("exit code 3")
        assert await scene.says("says") == "hello from careless, attempt 2 crash"
        for process in processes:
            process.sock.close()
            process.kill()
            await process.ended

    play(installed, act)


def test_a_child_of_the_zygote_that_dies_at_once_is_heard_of(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothost.runners.process.spawner.EXEC_AT_MOST", 0)

    async def act(scene: Scene) -> None:
        for _ in range(20):
            process = await scene.spawner.start("careless")
            process.sock.close()  # a child whose host is gone ends at once
            assert await asyncio.wait_for(process.ended, 10)

    play(installed, act)


def test_what_bots_ini_names_later_is_hidden_from_children_that_start_later(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bothost.runners.process.spawner.EXEC_AT_MOST", 0)
    monkeypatch.setenv("OTHER_SECRET", "not for plugins")
    monkeypatch.setenv("LATER_SECRET", "not for plugins either")

    async def act(scene: Scene) -> None:
        assert await scene.says("environment") == "LATER_SECRET"
        first = scene.spawner._zygote
        scene.spawner.hide(frozenset({"LATER_SECRET"}))
        assert await scene.says("environment") == "LATER_SECRET"
        await scene.run("exits")
        assert await scene.says("environment") == ""
        assert first is not None
        assert not first.lives

    play(installed, act)


def test_children_end_with_the_host(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        "import asyncio, sys, os\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_runner import Scene\n"
        "from pathlib import Path\n"
        "async def main():\n"
        f"    scene = Scene(Path({str(installed)!r}))\n"
        "    print(await scene.says('pid'), flush=True)\n"
        "    await scene.run('spins', 60)\n"
        "asyncio.run(main())\n"
    )

    async def act() -> None:
        host = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
        assert host.stdout is not None
        pid = int(await host.stdout.readline())
        child = os.pidfd_open(pid)
        gone = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(child, lambda: gone.done() or gone.set_result(None))
        host.kill()
        await asyncio.wait_for(gone, 10)
        asyncio.get_running_loop().remove_reader(child)
        os.close(child)
        await host.wait()

    asyncio.run(act())
