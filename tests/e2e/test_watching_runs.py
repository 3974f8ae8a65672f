"""Tracing and error tracking in plugins: `on_run` is entered around each run, and trackers see what a handler raises."""

from __future__ import annotations

import http.client
import json

import pytest

PLUGINS = r"""
import contextlib, contextvars, json, logging, pathlib
import bothost
HERE = pathlib.Path(__file__).parent
SPAN = contextvars.ContextVar("span", default="none")
def wrote(name, **told):
    with (HERE / name).open("a") as file:
        file.write(json.dumps(told) + "\n")
@bothost.on_run
@contextlib.contextmanager
def span(subject):
    key = getattr(subject, "id", None) or f"tick {subject.due:%Y}"
    token = SPAN.set(key)
    try:
        yield
    except BaseException as error:
        wrote("spans", key=key, error=type(error).__name__)
        raise
    else:
        wrote("spans", key=key, error="")
    finally:
        SPAN.reset(token)
@bothost.on_run
def broken(subject):
    raise RuntimeError("a hook of its own fault")
@bothost.on_run
def leaves(subject):
    raise SystemExit(3)
@bothost.on_run
@contextlib.contextmanager
def swallows(subject):
    try:
        yield
    except ValueError:
        pass
# as sentry_sdk does it
before = logging.Logger.callHandlers
def tracked(self, record):
    before(self, record)
    if record.levelno >= logging.ERROR and record.exc_info and record.exc_info[0] is not None:
        if self.name != "bothost.plugin":
            wrote("tracked", error=record.exc_info[0].__name__, line=record.exc_info[2].tb_lineno > 0)
logging.Logger.callHandlers = tracked
async def on_loop(event):
    if event.task_id > 100:
        raise ValueError("raised on purpose")
    return SPAN.get()
def in_thread(event):
    if event.task_id > 100:
        raise ValueError("raised on purpose")
    return SPAN.get()
def awaited_later(event):
    return on_loop(event)
class Elsewhere(Plugin):
    @hook("page", anyone, methods=("GET",))
    async def page(self, request):
        raise LookupError("of a page")
    @hook("paid", anyone, once="/id")
    def paid(self, request):
        self.jobs.add("later", after="0s").wait()
    @job("later")
    async def later(self, job):
        raise RuntimeError("of a job")
"""


@pytest.mark.parametrize("plugin", ["on_loop", "in_thread", "awaited_later"])
@pytest.mark.parametrize("run", ["auto", pytest.param("process", marks=pytest.mark.full)])
def test_hooks_stand_around_each_run_and_trackers_see_its_exception(site, plugin, run):
    host = site(PLUGINS, f"one: plugin = {plugin}; run = {run}; on_error = ignore").start()
    assert host.deliver("one", task=5, comment=1).text == "one:5:comment:1"
    assert host.deliver("one", task=105, comment=2).status == 200
    host.said("raised on purpose")
    host.wrote("tracked")
    assert host.stop() == 0
    spans = [json.loads(line) for line in (host.folder / "spans").read_text("utf-8").splitlines()]
    assert spans == [
        {"key": "one:5:comment:1", "error": ""},
        {"key": "one:105:comment:2", "error": "ValueError"},
    ]
    tracked = [json.loads(line) for line in (host.folder / "tracked").read_text("utf-8").splitlines()]
    assert tracked == [{"error": "ValueError", "line": True}]
    # what a hook raises is said, and hurts no run; the failure is written once
    host.said("the hook handlers.broken could not be entered")
    host.said("the hook handlers.leaves could not be entered")
    assert len([line for line in host.lines() if "raised ValueError: raised on purpose" in line["message"]]) == 1


@pytest.mark.full
@pytest.mark.parametrize("run", ["auto", "process"])
def test_hooks_stand_around_what_no_delivery_brought(site, run):
    host = site(PLUGINS, f"one: plugin = Elsewhere; run = {run}").start()
    assert call(host, "GET", "/one/page") == 500
    assert call(host, "POST", "/one/paid", b'{"id": "7"}') == 202
    host.said("of a job")
    assert host.stop() == 0
    spans = [json.loads(line) for line in (host.folder / "spans").read_text("utf-8").splitlines()]
    assert [span["error"] for span in spans] == ["LookupError", "", "RuntimeError"]
    assert "one:0:job" in spans[2]["key"]
    tracked = [json.loads(line)["error"] for line in (host.folder / "tracked").read_text("utf-8").splitlines()]
    assert tracked == ["LookupError", "RuntimeError"]


def call(host, method, path, body=b""):
    """The status of a request to a hook."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    connection.request(method, path, body)
    status = connection.getresponse().status
    connection.close()
    return status
