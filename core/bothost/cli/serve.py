"""`demo` and `serve`: run the host."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.bot_status import BotDiagnosis, form_of, judge
from bothost.cli.completion import complete_file
from bothost.cli.help import Command
from bothost.cli.http_delivery import DeliveryTarget, Unreachable, deliver, parse_target
from bothost.cli.output import config_option, json_option, language, log_level_option, say, show_json, show_table
from bothost.cli.selection import check_there
from bothost.cli.send import decoded_body, new_id
from bothost.clock import SystemClock
from bothost.config import read, with_log_level
from bothost.errors import ConfigError
from bothost.pyrus.samples import sample, with_fresh_ids
from bothost.telemetry.host_loggers import LogListener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.clock import Clock
    from bothost.config import ConfigReading, HostConfig, LogLevel
    from bothost.host.serve import ServingAddresses


@click.command(cls=Command, epilog="Example: bothost serve --config /etc/bothost/bots.ini")
@log_level_option
@config_option
@json_option
def serve(config: str, log_level: LogLevel | None, as_json: bool) -> int:
    """Host the bots of bots.ini until SIGTERM. Wrong sections answer 503 and say why; the others serve."""
    del as_json  # nothing but errors is printed, and `run` does that
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the host can reload: the signal would end it
    from bothost.host.supervisor import serve as serve_host

    return serve_host(with_log_level(read(config), log_level), log_level)


@click.command(cls=Command, epilog="Example: bothost demo --once")
@click.option("--once", is_flag=True, help="End after the deliveries; exit code 1 if one was not answered 200.")
@click.option(
    "--from",
    "recorded",
    multiple=True,
    metavar="[BOT=]FILE",
    shell_complete=complete_file,
    help="Send this recorded delivery, with fresh ids, to BOT or to every bot.",
)
@log_level_option
@config_option
@json_option
def demo(once: bool, recorded: tuple[str, ...], config: str, log_level: LogLevel | None, as_json: bool) -> int:
    """Host the bots of bots.ini on this machine only, send one signed delivery to each, and show the replies.

    The delivery is a sample: a task of the bot's form, if its `forms`, its settings or its @on(form=) name one.

    It takes the sample secrets that `serve` refuses, ignores PORT, and uses free ports if the configured ones are taken.
    """
    from bothost.host.serve import IniFile
    from bothost.host.serve import serve as serve_host

    reading = with_log_level(read(config, demo=True), log_level)
    if not reading.found or reading.host is None:
        raise ConfigError(reading.all_problems())
    with FailureReasons() as reasons:  # a bot's `open` may fail before the first delivery
        show = DemoDelivery(reading, recorded_bodies(recorded, reading), reasons, once=once, as_json=as_json)
        return serve_host(
            replace(reading, host=with_free_ports(reading.host)),
            show,
            source=IniFile(reading.host.path, demo=True, log_level=log_level),
        )


def with_free_ports(host: HostConfig) -> HostConfig:
    """Return the configuration with free ports instead of those that are taken."""
    operator_port = host.operator_port
    if operator_port and is_taken(host.operator_address, operator_port):
        # a free port and not 0, because 0 turns the page off
        operator_port = free_port(host.operator_address)
    port = 0 if host.port and is_taken(host.address, host.port) else host.port
    return replace(host, port=port, operator_port=operator_port, processes=1)


def is_taken(address: str, port: int) -> bool:
    """Return whether a listener could not bind there."""
    try:
        with _bound(address, port):
            return False
    except OSError:
        return True


def free_port(address: str) -> int:
    """Return a port that is free at this moment."""
    with _bound(address, 0) as one:
        port: int = one.getsockname()[1]
        return port


def _bound(address: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    one = socket.socket(family, kind, protocol)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind(place)
    except OSError:
        one.close()
        raise
    return one


@dataclass(frozen=True, slots=True)
class DemoDelivery:
    """The work of the demo once the host serves: make a delivery to each bot and show a table."""

    reading: ConfigReading
    recorded: Mapping[str, dict[str, Any]]
    """The recorded deliveries by bot; the one of "" is every other bot's."""
    reasons: FailureReasons
    once: bool
    as_json: bool

    async def __call__(self, serving: ServingAddresses) -> int:
        """Return the exit code. With `--once`, ask the host to stop."""
        host = self.reading.host
        assert host is not None
        clock = SystemClock()
        target = parse_target(serving.public[0])
        bots = [bot for bot in judge(self.reading, host.path.parent) if bot.config.enabled]
        rows = await asyncio.gather(*(_row(bot, self._body(bot, clock), target, clock) for bot in bots))
        for row in rows:
            row["reason"] = self.reasons.of(row["bot"]) if row["status"] not in (None, 200) else ""
        page = serving.operator[0] if serving.operator else ""
        if self.as_json:
            show_json({"listens": list(serving.public), "page": page, "deliveries": rows})
        else:
            show_table(["bot", "status", "ms"], [_shown(row) for row in rows], "reply")
            self._say_where(serving, page)
        code = OK if all(row["status"] == 200 for row in rows) else PROBLEM
        if self.once:
            os.kill(os.getpid(), signal.SIGTERM)
        return code

    def _body(self, bot: BotDiagnosis, clock: Clock) -> bytes:
        recorded = self.recorded.get(bot.config.name) or self.recorded.get("")
        fresh_id = new_id()
        body = with_fresh_ids(recorded, fresh_id) if recorded else sample(clock.now(), fresh_id, form_of(bot))
        return json.dumps(body, ensure_ascii=False).encode()

    def _say_where(self, serving: ServingAddresses, page: str) -> None:
        say(f"listening on {', '.join(serving.public)}")
        if page:
            say(f"operator's page: {page}  (its token: bothost token)")
        if self.once:
            return
        url = "" if self._configured(serving) else f" --url {serving.public[0]}"
        say(f"try: bothost send {min(self.reading.bots, default='BOT')}{url}    stop: Ctrl+C")

    def _configured(self, serving: ServingAddresses) -> bool:
        host = self.reading.host
        return host is not None and serving.public[0].endswith(f":{host.port}")


class FailureReasons(LogListener):
    """Keeps the last error that the host in this process logs of each bot, while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._by_bot: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._by_bot[str(vars(record).get("bot") or "")] = record.getMessage()

    def of(self, bot: str) -> str:
        """Return the last error of a bot; "" if there was none."""
        return self._by_bot.get(bot, "")


def recorded_bodies(given: Sequence[str], reading: ConfigReading) -> dict[str, dict[str, Any]]:
    """Return the bodies of `--from` by bot, those for every bot by "". Raises UsageError."""
    bodies = {}
    for text in given:
        bot, equals, file = text.partition("=")
        bot, file = (bot, file) if equals else ("", text)
        if bot:
            check_there(bot, reading)
        bodies[bot] = decoded_body(Path(file).read_bytes(), file)
    return bodies


async def _row(bot: BotDiagnosis, body: bytes, target: DeliveryTarget, clock: Clock) -> dict[str, Any]:
    """Return one bot's line of the table. A broken bot is not called, because its event would be parked."""
    config = bot.config
    if bot.problems:
        return {"bot": config.name, "status": None, "reply": f"{bot.state}: {bot.reason}", "ms": None}
    try:
        answer = await asyncio.to_thread(deliver, target.at(config.path), body, config.secrets[0], "1/3", clock)
    except Unreachable as error:
        return {"bot": config.name, "status": None, "reply": str(error), "ms": None}
    return {
        "bot": config.name,
        "status": answer.status,
        "reply": answer.reply,
        "ms": round(answer.seconds * 1000, 1),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    reply, called = row["reply"], row["status"] is not None
    if row["reason"] or not called:
        return {**row, "reply": language().message(row["reason"] or reply)}
    return {**row, "reply": reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)}
