"""What a plugin does to the loop that all share: the other bots do not notice."""

from __future__ import annotations

import json
import socket
import urllib.request

import pytest
from tests.e2e.site import SECRET, free_port

PLUGINS = """
import asyncio, os, pathlib, resource, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
HERE = pathlib.Path(__file__).parent
async def cancels(event):
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    return "cleaned up"
async def stops(event):
    asyncio.get_running_loop().stop()
    return "stopped"
async def throws(event):
    async def leave():
        raise KeyboardInterrupt
    asyncio.create_task(leave())
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    return "thrown"
def wake(_number, frame):
    if frame.f_code.co_name not in ("select", "run_to_the_end"):  # only where the loop itself waits
        return signal.setitimer(signal.ITIMER_REAL, 0.001)
    raise TimeoutError("time is up")
async def alarms(event):
    signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    return "alarmed"
async def ends_threads(event):
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    loop.set_default_executor(threads)
    threads.shutdown()
    await loop.shutdown_default_executor()
    return await asyncio.to_thread(lambda: "ended")
async def empties(event):
    os.environ.clear()
    return "emptied"
async def limits(event):
    resource.setrlimit(resource.RLIMIT_NOFILE, (10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return "limited"
async def fills(event):
    await asyncio.gather(*[asyncio.to_thread(time.sleep, 20) for _ in range(40)])
async def shuts(event):
    sys.__stdout__.close()
    os.closerange(0, 3)
    return "shut"
async def shuts_all(event):
    os.closerange(3, 65536)
async def slow(event):
    (HERE / f"began-{event.task_id}").write_text("yes")
    await asyncio.sleep(1)
    return "slow"
async def greet(event):
    return "hello"
"""
BOTS = """
cancels: plugin = cancels
stops: plugin = stops
throws: plugin = throws
alarms: plugin = alarms
ends_threads: plugin = ends_threads
empties: plugin = empties
limits: plugin = limits
fills: plugin = fills; answer_within = 1s; login = bot@x; api_url = http://127.0.0.1:9
shuts: plugin = shuts
shuts_all: plugin = shuts_all
shuts_own: plugin = shuts_all; run = process
slow: plugin = slow
other: plugin = greet; secret = env:OF_OTHER
own: plugin = greet; run = process
own_later: plugin = greet; run = process
"""
THROWN = {
    "asyncio": (
        "KeyboardInterrupt was raised out",
        "SystemExit: 3 was raised out",
        "TimeoutError: time is up was raised",
    ),
    "uvloop": ("SystemExit: 3 was raised out",),  # what a signal handler raises it logs itself, and goes on
}


@pytest.mark.full
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_plugin_that_cleans_up_what_is_not_its_own_hurts_no_other(site, loop):
    page = free_port()
    host = site(PLUGINS, BOTS, f"operator_port = {page}\ndrain = 1s\n").start(
        {"BOTHOST_LOOP": loop, "OF_OTHER": SECRET}
    )
    for task, (plugin, said) in enumerate({"cancels": "cleaned up", "stops": "stopped"}.items(), 1):
        running = host.deliver_later("slow", task=task, comment=1)
        host.wrote(f"began-{task}")
        assert host.deliver(plugin, comment=1).text == said
        assert running.result(10).status in {200, 500}
        assert host.deliver("slow", task=task, comment=1, attempt="2/3").text == "slow"
        assert host.deliver("own", task=task, comment=1).text == "hello"
        assert host.deliver("other", task=task, comment=1).text == "hello"
    for plugin, said in {
        "throws": "thrown",
        "alarms": "alarmed",
        "ends_threads": "ended",
        "empties": "emptied",
    }.items():
        assert host.deliver(plugin, comment=1).text == said
    for part in THROWN[loop]:
        host.said(part)
    host.said("[bot:ends_threads] its plugin replaces the threads")
    assert host.deliver("limits", comment=1).text == "limited"
    host.said("a plugin lowered the limits of the process")
    assert host.deliver("own_later", comment=1).text == "hello"
    assert host.deliver("shuts", comment=1).text == "shut"
    clients = [socket.create_connection(("127.0.0.1", host.port), 10) for _ in range(4)]
    assert host.deliver("slow", task=9, comment=1).text == "slow"
    for client in clients:  # one of them has the number of stderr now, but gets no line of the log
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 ")
        client.close()
    assert host.deliver("shuts_own", comment=1).status == 500
    host.said("and the host where a child has closed all its files")
    assert host.deliver("fills", comment=1).status == 200
    ini = host.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("[bot:other]", "[bot:another]"))
    host.said("reloaded:", 10)
    host.until(lambda: host.deliver("another", comment=3).status == 200, 10)
    assert host.deliver("another", comment=2).text == "hello"
    assert readiness(page)["loops_down"] == []
    host.said("a plugin has stopped the event loop, which goes on")
    assert host.stop() == 0


@pytest.mark.full
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_plugin_that_closes_every_file_ends_the_host_and_loses_nothing(site, loop):
    host = site(PLUGINS, "shuts: plugin = shuts_all\nother: plugin = greet\n").start({"BOTHOST_LOOP": loop})
    host.deliver_later("shuts", comment=1)
    assert host.wait() != 0
    if loop == "asyncio":
        assert "its files are closed" in host.said("the host has failed")["message"]
    host.start({"BOTHOST_LOOP": loop})
    assert host.deliver("other", comment=1).text == "hello"


def readiness(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        return json.loads(answer.read())
