"""A plugin that sets up logging silences no line of the host and takes away no masking; what it prints is masked too."""

from __future__ import annotations

import json

import pytest
from tests.e2e.site import SECRET, delivery

from bothost.pyrus.signature import sign

TOKEN = "token-of-the-event"
SETUPS = {
    "dictConfig": 'logging.config.dictConfig({"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}, '
    '"root": {"handlers": ["c"], "level": "INFO"}})',
    "basicConfig": "logging.basicConfig(level=logging.INFO, force=True)",
    "disable": "logging.disable(logging.CRITICAL)",
    "clear": "logging.getLogger().handlers.clear()",
    "intercept": "[(setattr(logging.getLogger(n), 'handlers', []), setattr(logging.getLogger(n), 'propagate', True), "
    "setattr(logging.getLogger(n), 'disabled', True)) for n in list(logging.root.manager.loggerDict)]; "
    "logging.basicConfig(handlers=[logging.StreamHandler()], level=0, force=True)",
    "shutdown": "logging.shutdown()",
    "factory": "logging.setLogRecordFactory(lambda *a, **k: logging.LogRecord('other', 10, '', 0, 'nothing', None, None))",
}
PLUGINS = r"""
import logging, logging.config, sys, os
def fails(event):
    raise ValueError("must be in the log; key SECRET")
async def printer(event):
    print("token is", event.raw["access_token"])
    print("forged\n" + '{"time":"x","level":"error","logger":"bothost.refused","message":"forged line"}' + "\x1b[2J")
    sys.stderr.write("half "); sys.stderr.write("a line, then " + event.raw["access_token"] + "\n")
    sys.stdout.buffer.write(b"bytes " + event.raw["access_token"].encode() + b"\n")
    logging.getLogger("some_lib").warning("a library says %s", event.raw["access_token"])
    return "ok"
def threads(event):
    print("token is", event.raw["access_token"])
    logging.getLogger("some_lib").warning("a library says %s", event.raw["access_token"])
    return "ok"
""".replace("SECRET", SECRET)


@pytest.mark.parametrize(
    "setup", [pytest.param(key, marks=[] if key in ("dictConfig", "disable") else [pytest.mark.full]) for key in SETUPS]
)
@pytest.mark.parametrize("run", ["auto", "process"])
def test_the_hosts_log_goes_on_with_its_masking(site, setup, run):
    plugins = PLUGINS + SETUPS[setup] + "\n"
    host = site(
        plugins, f"fails: plugin = fails; on_error = ignore; run = {run}\nprinter: plugin = printer; run = {run}"
    ).start()
    assert host.deliver("fails", task=1).status == 200
    assert host.deliver("printer", task=2).text == "ok"
    host.said("must be in the log")
    assert host.stop() == 0
    text = host.log.read_text("utf-8")
    assert SECRET not in text
    assert TOKEN not in text
    assert "stopped" in [line["message"] for line in host.lines()]
    assert len([line for line in host.lines() if line.get("logger") == "bothost.delivery"]) == 2
    if run == "auto" and setup not in {"factory", "shutdown"}:
        assert len([line for line in host.lines() if "has set up logging" in line["message"]]) == 1


@pytest.mark.parametrize(("plugin", "run"), [("printer", "auto"), ("threads", "auto"), ("printer", "process")])
def test_what_a_plugin_prints_is_masked_and_cannot_pass_for_a_line(site, plugin, run):
    host = site(PLUGINS, f"one: plugin = {plugin}; run = {run}").start()
    body = delivery(1, 5)
    assert host.post("one", body, {"X-Pyrus-Sig": sign(body, SECRET)}).text == "ok"
    line = host.said("token is")
    ids = ("one", 1, "one:1:comment:5")
    if run == "auto":
        assert (line["bot"], line["task"], line["event"], line["logger"]) == (*ids, "bothost.printed")
    line = host.said("a library says")
    assert (line["bot"], line["task"], line["event"], line["logger"]) == (*ids, "some_lib")
    assert host.stop() == 0
    raw = host.log.read_bytes()
    assert TOKEN.encode() not in raw
    assert b"\x1b" not in raw
    assert not [one for one in raw.splitlines() if json.loads(one)["logger"] == "bothost.refused"]
