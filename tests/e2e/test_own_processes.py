"""Bots with `run = process` in a real host: whatever their code does, the host and its other bots do not mind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.e2e.site import SECRET, HostSite

PLUGINS = """
import asyncio, ctypes, os, pathlib, re, time
HERE = pathlib.Path(__file__).parent
class Careless(Plugin):
    class Settings(Settings):
        word: str = "fine"
        needs: str = "/"
    def open(self):
        if not os.path.exists(self.settings.needs):
            raise RuntimeError("no licence in " + self.settings.needs)
    async def handle(self, event):
        (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
        if event.rerun:
            return f"again after {event.rerun}"
        return await getattr(self, event.comment.text)(event)
    async def says(self, event):
        return f"{self.settings.word} {os.getpid()} {event.rerun}"
    async def exits(self, event):
        os._exit(3)
    async def segfaults(self, event):
        ctypes.string_at(0)
    async def eats(self, event):
        block = bytearray(4 << 30)
        return str(len(block))
    async def spins(self, event):
        re.match(r"(a+)+b", "a" * 60)
    async def hangs(self, event):
        time.sleep(3600)
    async def waits(self, event):
        await asyncio.sleep(3600)
    async def parent(self, event):
        return str(os.getppid())
async def greet(event):
    return "hello"
"""
BOTS = "careless: plugin = Careless; run = process; timeout = 2s; memory = 1G\nother: plugin = greet"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def pid_of(host: HostSite, task: int, bot: str = "careless") -> int:
    return int(host.deliver(bot, task=task, comment=task, text="says").text.split()[1])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("exits", "its process died: it ended with exit code 3"),
        ("segfaults", "its process died: it was ended by SIGSEGV"),
        pytest.param("spins", "did not end within 2 s; its process was ended", marks=pytest.mark.full),
        pytest.param("hangs", "did not end within 2 s; its process was ended", marks=pytest.mark.full),
    ],
)
def test_an_accident_is_one_failed_run_and_nobody_elses(site, what, told):
    host = site(PLUGINS, BOTS).start()
    first = pid_of(host, 1)
    later = host.deliver_later("careless", task=2, comment=2, text=what)
    host.wrote("began-2")
    for task in range(10, 30):
        assert host.deliver("other", task=task, comment=task).text == "hello"
    assert later.result().status == 500
    assert host.said(told)["bot"] == "careless"
    assert pid_of(host, 3) != first
    assert not alive(first)
    # Pyrus's next attempt runs it again, and its handler is told why
    rerun = "crash" if "died" in told else "error"
    assert host.deliver("careless", task=2, comment=2, text=what, attempt="2/3").text == f"again after {rerun}"
    assert host.stop() == 0


def test_memory_beyond_its_bound_is_one_failed_run_and_a_new_process_goes_on(site):
    host = site(PLUGINS, BOTS).start()
    first = pid_of(host, 1)
    assert host.deliver("careless", task=2, comment=2, text="eats").status == 500
    assert "MemoryError" in host.said("MemoryError")["message"]
    # what filled the memory may still hold it, so the bot gets a new process after the run
    assert pid_of(host, 3) != first
    assert host.stop() == 0


def test_one_that_the_kernel_kills_for_memory_is_one_failed_run_and_says_so(site):
    host = site(PLUGINS, BOTS.replace("timeout = 2s", "timeout = 60s")).start()
    first = pid_of(host, 1)
    # the killer goes by this: the host is the last one it takes
    score = int(Path(f"/proc/{first}/oom_score_adj").read_text())
    assert score == 800 > int(Path(f"/proc/{host.process.pid}/oom_score_adj").read_text())
    later = host.deliver_later("careless", task=2, comment=2, text="waits")
    host.wrote("began-2")
    os.kill(first, signal.SIGKILL)
    assert later.result().status == 500
    line = host.said("its process died: it was ended by SIGKILL, as the kernel does where memory is short")
    assert line["bot"] == "careless"
    assert host.deliver("other", task=3, comment=3).text == "hello"
    assert host.deliver("careless", task=2, comment=2, text="waits", attempt="2/3").text == "again after crash"
    assert pid_of(host, 4) != first
    assert host.stop() == 0


def test_what_runs_beside_an_accident_runs_again_as_after_a_crash(site):
    host = site(PLUGINS, BOTS.replace("timeout = 2s", "timeout = 60s; concurrency = 4")).start()
    beside = host.deliver_later("careless", task=2, comment=2, text="waits")
    host.wrote("began-2")
    assert host.deliver("careless", task=3, comment=3, text="exits").status == 500
    assert beside.result().status == 500
    assert host.deliver("careless", task=2, comment=2, text="waits", attempt="2/3").text == "again after crash"
    assert host.stop() == 0


def test_after_three_deaths_it_is_quarantined_until_an_operator_resumes_it(site):
    host = site(PLUGINS, BOTS).start()
    for task in (1, 2, 3):
        assert host.deliver("careless", task=task, comment=task, text="exits").status == 500
    line = host.said("quarantined: its process died 3 times within an hour")
    assert "bothost resume careless" in line["message"]
    assert "exit code 3" in line["message"]
    assert host.deliver("careless", task=4, comment=4, text="says").status == 503
    # the last attempt is kept and runs when it is back
    assert host.deliver("careless", task=5, comment=5, text="says", attempt="3/3").status == 200
    assert host.deliver("other", task=5, comment=5).text == "hello"
    assert host.command("resume", "careless")["state"] == "resumed"
    host.said("no longer quarantined")
    host.until(lambda: host.deliver("careless", task=6, comment=6, text="says", attempt="2/3").status == 200)
    assert host.wrote("began-5") == "maybe"
    assert host.stop() == 0


def test_problems_of_plugin_and_settings_are_reported_as_those_of_the_host(site):
    plugins = (
        PLUGINS
        + "\nclass Rules(Settings):\n    limit: int\nclass Strict(Plugin[Rules]):\n    def handle(self, event): ...\n"
    )
    bots = "absent: plugin = gret; run = process\nwrong: plugin = Strict; limit = many; run = process\nother: plugin = greet"
    host = site(plugins, bots).start()
    assert host.said("'gret'")["bot"] == "absent"
    assert "did you mean" in host.said("'gret'")["message"]
    assert host.said("limit")["bot"] == "wrong"
    assert "bots.ini" in host.said("limit")["message"]
    assert [host.deliver(name, task=1).status for name in ("absent", "wrong", "other")] == [503, 503, 200]
    assert host.stop() == 0


@pytest.mark.full
def test_a_plugin_that_does_not_open_in_its_process_puts_the_bot_out_of_service_until_it_does(site):
    host = site(PLUGINS, "careless: plugin = Careless; run = process; needs = {folder}/licence").start()
    assert host.deliver("careless", task=1, comment=1, text="says").status == 500
    assert "RuntimeError: no licence in" in host.said("no licence")["message"]
    assert host.deliver("careless", task=2, comment=2, text="says").status == 503
    (host.folder / "licence").write_text("yes")
    assert host.said("in service again")["bot"] == "careless"
    assert host.deliver("careless", task=2, comment=2, text="says", attempt="2/3").status == 200
    assert host.stop() == 0


@pytest.mark.full
def test_a_dozen_of_them_end_with_the_host_however_that_ends(site):
    names = [f"bot{number}" for number in range(12)]
    host = site(PLUGINS, "\n".join(f"{name}: plugin = Careless; run = process" for name in names)).start()

    def pids() -> list[int]:
        return [pid_of(host, 100 + number, name) for number, name in enumerate(names)]

    first = pids()
    parents = {int(host.deliver(name, task=9, comment=9, text="parent").text) for name in names}
    assert len(parents) == 2  # the host, and the zygote that forks what is more than eight
    assert host.stop() == 0
    host.until(lambda: not any(alive(pid) for pid in {*first, *parents}))
    host.start()
    second = pids()
    host.tell(signal.SIGKILL)
    host.wait()
    host.until(lambda: not any(alive(pid) for pid in second), 5.0)


def test_a_death_is_seen_at_once(site):
    host = site(PLUGINS, BOTS).start()
    pid_of(host, 1)
    began = time.monotonic()
    assert host.deliver("careless", task=2, comment=2, text="exits").status == 500
    took_ms = (time.monotonic() - began) * 1000
    print(f"os._exit in a handler: answered 500 after {took_ms:.1f} ms")
    assert took_ms < 1000
    assert host.stop() == 0


def test_a_failure_hook_gets_no_variable_that_bots_ini_names(site, tmp_path):
    program = f"import os, pathlib; pathlib.Path('{tmp_path}/hooked').write_text(' '.join(os.environ))"
    host = site(
        "async def fails(event):\n    raise ValueError('no')\n",
        "one: plugin = fails; secret = env:THE_KEY; on_error = ignore",
        f'on_failure = {sys.executable} -c "{program}"',
    ).start({"THE_KEY": SECRET, "MAIL_TO": "ops@example.com"})
    assert host.deliver("one").body == b"{}"
    names = host.wrote("hooked").split()
    assert "MAIL_TO" in names
    assert "THE_KEY" not in names
