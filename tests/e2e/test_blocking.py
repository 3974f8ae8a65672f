"""Who blocks: the watchdog of a real host names bot, file and line; stuck bots say where their threads stand."""

from __future__ import annotations

import re
import time

import pytest

PLUGINS = r"""
import asyncio, pathlib, re, threading, time
HERE = pathlib.Path(__file__).parent
async def sleeper(event):
    time.sleep(0.8)                                   # async-sleep
    return "slept"
def backtracker(event):
    re.match("(a+)+b", "a" * int(event.comment.text))  # thread-regex
    return "matched"
async def looper(event):
    re.match("(a+)+b", "a" * int(event.comment.text))  # loop-regex
    return "matched"
def computer(event):
    end = time.monotonic() + float(event.comment.text)
    while time.monotonic() < end:
        pass
    return "computed"
def stopper(event):
    (HERE / f"began-{event.task_id}").write_text("yes")
    while not (HERE / "go").exists():
        time.sleep(0.02)                              # stuck-here
    return "far too late"
async def greet(event):
    return "hello"
"""


def line_of(mark: str) -> int:
    lines = f"from bothost import *\n{PLUGINS}".splitlines()
    return next(number for number, line in enumerate(lines, start=1) if f"# {mark}" in line)


def pattern_length(seconds: float) -> int:
    """For how many characters the runaway pattern takes about this long here."""
    length = 18
    while True:
        begun = time.thread_time()
        re.match("(a+)+b", "a" * length)
        if time.thread_time() - begun > seconds / 4:
            return length + 2
        length += 1


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=[pytest.mark.full, pytest.mark.alone])])
def test_a_handler_that_sleeps_on_the_loop_is_named_once_a_minute_with_file_and_line(site, loop):
    host = site(PLUGINS, "slow: plugin = sleeper\nother: plugin = greet").start({"BOTHOST_LOOP": loop})
    for task in (1, 2, 3):
        assert host.deliver("slow", task=task).text == "slept"
    line = host.said("blocks the event loop")
    assert line["bot"] == "slow"
    place = f"{host.folder}/handlers.py:{line_of('async-sleep')} in sleeper"
    assert place in line["message"]
    took_ms = int(re.search(r"for (\d+) ms", line["message"])[1])
    print(f"named after {took_ms} ms")
    assert 250 <= took_ms < 800
    assert host.stop() == 0
    assert len([each for each in host.lines() if "blocks the event loop" in each["message"]]) == 1


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize(("plugin", "mark"), [("backtracker", "thread-regex"), ("looper", "loop-regex")])
def test_c_code_that_keeps_the_interpreters_lock_is_named_afterwards(site, plugin, mark):
    host = site(PLUGINS, f"slow: plugin = {plugin}\nother: plugin = greet").start()
    text = str(pattern_length(1.5))
    assert host.deliver("other", task=1).text == "hello"
    # whoever gets the lock next runs next: mostly the watchdog, now and then the handler, which has left its place by then
    named = []
    for task in range(2, 22):
        assert host.deliver("slow", task=task, comment=task, text=text).text == "matched"
        named = [line for line in host.lines() if "the interpreter's lock" in line["message"]]
        if any("handlers.py:" in line["message"] for line in named):
            break
    print(f"named at the {task - 1}. time: {named}")
    assert {line["bot"] for line in named} == {"slow"}
    (at,) = {int(found[1]) for line in named if (found := re.search(r"handlers\.py:(\d+)", line["message"]))}
    assert at in (line_of(mark), line_of(mark) + 1)
    assert host.stop() == 0


@pytest.mark.full
@pytest.mark.alone
def test_a_bot_whose_threads_compute_is_told_to_take_a_process(site):
    host = site(PLUGINS, "busy: plugin = computer; order = none\nother: plugin = greet").start()
    later = [host.deliver_later("busy", task=task, comment=task, text="14") for task in (1, 2)]
    line = host.said("threads isolate waiting, not computing; say `run = process`", 40.0)
    assert line["bot"] == "busy"
    print(line["message"])
    assert [each.result().text for each in later] == ["computed", "computed"]
    assert host.stop() == 0


def test_a_bot_whose_permits_all_hang_in_threads_is_stuck_says_where_and_comes_back(site):
    host = site(PLUGINS, "one: plugin = stopper; concurrency = 2; timeout = 400ms\nother: plugin = greet").start()
    later = [host.deliver_later("one", task=task, comment=task) for task in (1, 2)]
    assert [each.result().status for each in later] == [500, 500]
    line = host.said("stuck: every permit (2) is held")
    assert line["bot"] == "one"
    assert re.search(rf"\(2 at \S*handlers\.py:{line_of('stuck-here')} in stopper\)", line["message"])
    assert host.deliver("one", task=3, comment=3).status == 503
    # what is parked at the last attempt runs when it is back
    assert host.deliver("one", task=4, comment=4, attempt="3/3").status == 200
    assert host.deliver("other", task=4).text == "hello"
    (host.folder / "go").write_text("yes")
    host.said("no longer stuck")
    host.wrote("began-4")
    # what the threads returned is kept, and never sent
    for task in (1, 2):
        (entry,) = host.command("deliveries", "list", "--task", str(task))
        assert entry["state"] == "failed"
        shown = host.command("deliveries", "show", entry["id"])
        assert 'never sent: {"text":"far too late"}' in shown["error"]
        assert host.deliver("one", task=task, comment=task, attempt="2/3").status == 500
    assert host.stop() == 0
