"""`bothost dev`: the author's loop, beside a fake Pyrus with a page."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bothost.cli.help import Command
from bothost.cli.output import json_option, log_level_option, say
from bothost.cli.serve import free_port, is_taken, with_free_ports
from bothost.config import read, with_log_level
from bothost.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from bothost.config import LogLevel

PAGE_PORT = 8090


@click.command(cls=Command, epilog="Example: bothost dev leave-bot")
@click.argument("package", type=click.Path(path_type=Path), default=".", envvar="BOTHOST_CONFIG")
@click.option("--debug", is_flag=True, help="Let handlers stop at breakpoints: no limit of time disturbs a paused one.")
@click.option("--page-port", type=int, default=PAGE_PORT, show_default=True, help="The port of the fake Pyrus's page.")
@log_level_option
@json_option
def dev(package: Path, debug: bool, page_port: int, log_level: LogLevel | None, as_json: bool) -> int:
    """Serve the bots of PACKAGE/bots.ini on this machine beside a fake Pyrus with a page, and take up every saved file.

    On the page you create tasks, comment and approve as several people, and see the bots' replies arrive. Each
    delivery, call and error stands beside them with its bytes. With --debug the bots run in this process, in which a breakpoint
    finds this terminal. Saved code then takes a restart. Without PACKAGE the
    file of BOTHOST_CONFIG is served.
    """
    del as_json  # nothing but errors is printed as JSON, and `run` does that
    path = package if package.is_file() else package / "bots.ini"
    if not path.exists():
        raise UsageError(f"{path} does not exist: name a folder that `bothost new` made, or go there first")
    reading = with_log_level(read(str(path), demo=True), log_level)
    if not reading.found or reading.host is None:
        raise ConfigError(reading.all_problems())
    from bothost.cli.dev.session import DevSession
    from bothost.cli.dev.source import on_loopback
    from bothost.host.serve import serve
    from bothost.telemetry import printing

    local = on_loopback(reading)
    assert local.host is not None
    chosen = free_port("127.0.0.1") if is_taken("127.0.0.1", page_port) else page_port
    session = DevSession(path.resolve(), local, free_port("127.0.0.1"), chosen, say, debug, log_level)
    if debug:
        logging.getLogger("bothost.watchdog").setLevel(logging.CRITICAL)  # a paused handler is no fault
        printing.OWN.set(True)  # a debugger talks to the terminal itself
    return serve(replace(session.reading, host=with_free_ports(local.host)), session, source=session.source)
