"""`doctor`: what an operator would look at first, looked at in one go; each line is well, or says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import socket
import ssl
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.choosing import read_existing
from bothost.cli.judging import judge
from bothost.cli.output import config_option, json_option, show_json, show_table
from bothost.cli.visiting import visiting
from bothost.clock import SystemClock
from bothost.errors import BothostError, CallError
from bothost.pyrus import calls
from bothost.pyrus_client import Caller, PyrusClient, Terms, TornadoTransport
from bothost.store import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bothost.cli.judging import Judged
    from bothost.config import BotConfig, HostConfig, Reading

LEAST_DISK = 1 << 30
MOST_SKEW_S = 5.0
CERTIFICATE_DAYS = 14
WAIT_S = 10.0
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `do` says what would help."""

    what: str
    state: Literal["ok", "warning", "problem"]
    found: str
    do: str = ""


@click.command(epilog="Example: bothost doctor --config /etc/bothost/bots.ini")
@config_option
@json_option
def doctor(config: str, as_json: bool) -> int:
    """Look at configuration, plugins, clock, disk, journal, ports, public URL with its certificate, and each bot's login."""
    reading = read_existing(config)
    findings = list(examine(reading))
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        show_table(("what", "state", "found", "do"), (asdict(finding) for finding in findings))
    return PROBLEM if any(finding.state == "problem" for finding in findings) else OK


def examine(reading: Reading) -> Iterator[Finding]:
    """Everything, in the order in which one thing needs the other."""
    host = reading.host
    judged = judge(reading, host.path.parent if host else Path.cwd())
    yield from of_configuration(reading, judged)
    if host is None:
        return
    yield of_disk(host)
    facts, journal = asyncio.run(of_journal(host))
    yield from journal
    yield from of_ports(host)
    yield from of_public_url(host)
    yield from asyncio.run(of_logins(reading.bots, facts))


def of_configuration(reading: Reading, judged: list[Judged]) -> Iterator[Finding]:
    """The file, and each bot's plugin and settings."""
    problems = reading.all_problems()
    if problems:
        yield Finding("configuration", "problem", f"{len(problems)} errors", "see `bothost check`: " + str(problems[0]))
    else:
        yield Finding("configuration", "ok", f"{len(reading.bots)} bots")
    for bot in judged:
        if bot.problems and bot.state == "plugin error":
            yield Finding(
                f"plugin of {bot.config.name}", "problem", bot.reason, "install or mend the plugin, then reload"
            )
    for warning in (*reading.warnings, *(one for bot in judged for one in bot.warnings)):
        yield Finding("configuration", "warning", str(warning))


def of_disk(host: HostConfig) -> Finding:
    """Room for the journal."""
    folder = host.state if host.state.exists() else host.path.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GB free at {folder}"
    if free < LEAST_DISK:
        return Finding("disk", "problem", found, "make room: what cannot be recorded is not acknowledged")
    return Finding("disk", "ok", found)


async def of_journal(host: HostConfig) -> tuple[Mapping[str, str], list[Finding]]:
    """Read from it and write to it, beside a running host; also the facts that bodies have taught."""
    if not host.journal and not host.state.exists():
        found = f"{host.state} is made at the first `bothost serve`"
        return {}, [Finding("journal", "warning", f"none yet: {found}")]
    clock = SystemClock()
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(WAIT_S), visiting(host) as store:
            newest = await store.list(Filter(limit=1))
            failed = len(await store.list(Filter(states=("failed",), limit=100)))
            facts = await store.controls()
            await store.control("doctor", clock.now().isoformat())
            await store.control("doctor", None)
    except (BothostError, OSError, TimeoutError) as error:
        do = "see that the folder is the host's user's and the disk is not full; for PostgreSQL that it can be reached"
        return {}, [Finding("journal", "problem", str(error) or "no answer within 10 s", do)]
    took_ms = (clock.monotonic() - begun) * 1000
    last = (
        f"newest event {datetime.fromtimestamp(newest[0].created, UTC):%Y-%m-%d %H:%M:%S} UTC"
        if newest
        else "no event yet"
    )
    findings = [Finding("journal", "ok", f"read and written in {took_ms:.0f} ms; {last}")]
    if failed:
        many = "100 or more" if failed == 100 else str(failed)
        findings.append(Finding("failed events", "warning", many, "`bothost deliveries list --state failed`"))
    for fact, reason in facts.items():
        if fact.startswith(("pause:", "quarantine:")):
            name = fact.partition(":")[2]
            findings.append(
                Finding(f"bot {name}", "warning", f"{fact.partition(':')[0]}: {reason}", "`bothost resume` goes on")
            )
    return facts, findings


def of_ports(host: HostConfig) -> Iterator[Finding]:
    """Whether a host answers where this one is to listen."""
    if host.unix_socket is not None:
        there = host.unix_socket.exists()
        found = f"{host.unix_socket} {'is there' if there else 'is not there'}"
        yield Finding("listener", "ok" if there else "warning", found, "" if there else "start the host")
        return
    where = "127.0.0.1" if host.address in ("0.0.0.0", "") else host.address  # noqa: S104 - compared, not bound
    status, why = healthz(where, host.port, tls=host.certfile is not None, check=False)
    found = f"{where}:{host.port} " + (f"answers {status}" if status else why)
    do = "" if status == 200 else "start the host, or see what else listens there"
    yield Finding("listener", "ok" if status == 200 else "warning", found, do)


def healthz(host: str, port: int, *, tls: bool, check: bool) -> tuple[int, str]:
    """The status of GET /healthz, or 0 and why there is none."""
    context = ssl.create_default_context()
    if not check:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection(host, port, timeout=WAIT_S, context=context)
        if tls
        else http.client.HTTPConnection(host, port, timeout=WAIT_S)
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status, ""
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()


def of_public_url(host: HostConfig) -> Iterator[Finding]:
    """What Pyrus sees: the address, a chain to a public CA, how long the certificate still holds."""
    if not host.public_url:
        yield Finding(
            "public URL", "warning", "`public_url` is not set", "set it, and doctor looks at it as Pyrus does"
        )
        return
    parts = urlsplit(host.public_url)
    name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme != "https":
        yield Finding("public URL", "problem", host.public_url, "Pyrus calls https addresses only")
        return
    try:
        days = certificate_days(name, port)
    except (OSError, ssl.SSLError) as error:
        do = "the certificate must chain to a public CA and name this host; the server must send the whole chain"
        yield Finding("public URL", "problem", f"{name}:{port}: {error}", do)
        return
    state: Literal["ok", "warning"] = "ok" if days >= CERTIFICATE_DAYS else "warning"
    yield Finding("certificate", state, f"holds {days} more days", "" if state == "ok" else "renew it")
    status, why = healthz(name, port, tls=True, check=True)
    found = f"{host.public_url} " + (f"answers {status}" if status else why)
    yield Finding(
        "public URL", "ok" if status == 200 else "problem", found, "" if status == 200 else "see the proxy in front"
    )


def certificate_days(name: str, port: int) -> int:
    """Days until the certificate ends. Raises SSLError where the chain or the name is wrong."""
    with (
        socket.create_connection((name, port), WAIT_S) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=name) as secure,
    ):
        shown = secure.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    return int((ends - SystemClock().now().timestamp()) // 86400)


class Alone:
    """A doctor shares its calls with nobody: it makes one for each bot."""

    def alive(self) -> bool:
        """See `Shared`."""
        return True

    def lost(self) -> set[str]:
        """See `Shared`."""
        return set()

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """See `Shared`."""
        del name, want, rate_per_s, cap
        return 0.0

    async def gate_reset(self, name: str, tokens: float) -> None:
        """See `Shared`."""
        del name, tokens


async def of_logins(bots: Mapping[str, BotConfig], facts: Mapping[str, str]) -> list[Finding]:
    """Log each bot in that has a login, set or learnt; compare the clocks by the answer."""
    client = PyrusClient(SystemClock(), Alone(), TornadoTransport())
    gate = asyncio.Semaphore(AT_ONCE)
    skews: list[float] = []

    async def one(config: BotConfig) -> Finding:
        login = config.login or facts.get(f"login:{config.name}", "")
        what = f"login of {config.name}"
        if not login:
            do = "set `login`: without it a late reply of this bot does not outlive the process"
            return Finding(what, "warning", "none set, none learnt yet", do)
        caller = Caller(config.name, config.api_url, login, config.secrets)
        async with gate:
            try:
                answer = await client.line(caller, Terms()).send(calls.profile())
            except CallError as error:
                do = "see login, secret and api_url; Pyrus's bot profile shows the first two"
                return Finding(what, "problem", str(error), do)
        with contextlib.suppress(ValueError, TypeError):
            there = parsedate_to_datetime(answer.headers.get("date", ""))
            skews.append((SystemClock().now() - there).total_seconds())
        return Finding(what, "ok", f"{login} is let in")

    try:
        findings = list(await asyncio.gather(*(one(bot) for bot in bots.values() if bot.enabled)))
    finally:
        await client.close()
    return [*findings, of_clock(skews)]


def of_clock(skews: list[float]) -> Finding:
    """This machine's clock beside Pyrus's."""
    if not skews:
        return Finding(
            "clock", "ok", f"{SystemClock().now():%Y-%m-%d %H:%M:%S} UTC; compared with nobody, for no login answered"
        )
    skew = min(skews, key=abs)
    found = f"{skew:+.0f} s beside Pyrus's"
    if abs(skew) > MOST_SKEW_S:
        return Finding("clock", "problem", found, "let an NTP service keep it: timers and logs go by it")
    return Finding("clock", "ok", found)
