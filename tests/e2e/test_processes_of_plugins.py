"""Processes that a plugin starts: forked, spawned, by exec. Ending them ends neither the host nor the bot's own process."""

from __future__ import annotations

import pytest

PLUGINS = r"""
import asyncio, multiprocessing, os, signal, subprocess, time
def waits():
    time.sleep(60)
def square(x):
    return x * x
def talks():
    print("printed in a fork", flush=True)
def fork_process(event):
    child = multiprocessing.get_context("fork").Process(target=waits)
    child.start()
    time.sleep(0.1)
    child.terminate()
    child.join(10)
    return f"ended {child.exitcode}"
def fork_pool(event):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return str(sum(pool.map(square, range(5))))
def spawn_pool(event):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return str(sum(pool.map(square, range(5))))
def by_exec(event):
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    try:
        return f"ended {child.wait(10)}"
    except subprocess.TimeoutExpired:
        child.kill()
        return "ignores SIGTERM"
def bare_fork(event):
    pid = os.fork()
    if not pid:
        talks()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        os._exit(3)
    return f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"
async def shell(event):
    child = await asyncio.create_subprocess_exec("sleep", "60")
    child.terminate()
    return f"ended {await child.wait()}"
async def loop_fork(event):
    return fork_process(event)
"""
RIGHT = {
    "fork_process": "ended -15",
    "fork_pool": "30",
    "by_exec": "ended -15",
    "bare_fork": "ended -15",
    "shell": "ended -15",
    "loop_fork": "ended -15",
}


@pytest.mark.parametrize("run", ["auto", "process"])
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.full)])
def test_a_process_of_a_plugin_ends_alone(site, run, loop):
    right = RIGHT | {"spawn_pool": "30"}
    bots = "\n".join(f"{name.replace('_', '-')}: plugin = {name}; run = {run}" for name in right)
    host = site(PLUGINS, bots).start({"BOTHOST_LOOP": loop})
    told = {
        name: host.deliver(name.replace("_", "-"), task=task, timeout=60).text for task, name in enumerate(right, 1)
    }
    assert told == right
    assert host.process is not None
    assert host.process.poll() is None
    assert host.deliver("by-exec", task=99).text == "ended -15"
    host.said("printed in a fork")
    assert host.stop() == 0
    assert not [line for line in host.lines() if "its process died" in line["message"]]
