"""The checks of `doctor`, one function each. A finding says ok or what to do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import shutil
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from bothost import __version__
from bothost.cli.host_client import wrong_with
from bothost.cli.http_delivery import DeliveryTarget, host_target, nothing_at, open_connection
from bothost.cli.journal_access import visiting
from bothost.cli.token import page_url
from bothost.errors import BothostError, CallError
from bothost.journal.moving import said_of_no_bot, without_bot
from bothost.pyrus_client.network import bare
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

    from bothost.cli.bot_status import BotDiagnosis
    from bothost.clock import Clock
    from bothost.config import BotConfig, ConfigReading, HostConfig
    from bothost.errors import Problem
    from bothost.pyrus_client.client import PyrusClient
    from bothost.pyrus_client.network import Network

LEAST_FREE_BYTES = 1 << 30
LEAST_FREE = 0.05
LEAST_DAYS = 14
MOST_SKEW_S = 30.0
WAIT_S = 10.0
SERVES = ("active", "starting", "off")
TRIAL = "doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: Literal["ok", "warning", "problem"]
    text: str


def configuration(reading: ConfigReading, warnings: Sequence[Problem]) -> Finding:
    """Check bots.ini itself."""
    problems = reading.all_problems()
    if problems:
        more = f" (and {len(problems) - 1} more: bothost check)" if len(problems) > 1 else ""
        return Finding("configuration", "problem", f"{problems[0]}{more}")
    if warnings:
        return Finding("configuration", "warning", "; ".join(str(warning) for warning in warnings))
    return Finding("configuration", "ok", counted(len(reading.bots), "bot"))


def other_environment(reading: ConfigReading, standing: Mapping[str, Mapping[str, Any]]) -> Finding | None:
    """Say in one line that this command lacks variables which the running host has; None if it lacks none."""
    lacking = [name for name, problems in reading.broken.items() if any("env:" in one.text for one in problems)]
    served = [name for name in lacking if name in standing and standing[name]["state"] != "config error"]
    if not served:
        return None
    text = (
        f"this command sees other environment variables than the running host: {len(served)} sections look wrong here and are "
        "right there. That host was asked instead; run doctor with the service's environment to examine the rest"
    )
    return Finding("configuration", "warning", text)


def plugin(bot: BotDiagnosis, standing: Mapping[str, Any] | None = None) -> Finding:
    """Check a bot's plugin and settings, and its state in the running host if there is one."""
    check = f"bot {bot.config.name}"
    wrong = wrong_with(standing) if standing is not None else []
    if standing is not None and standing["state"] not in SERVES:
        since = f" since {standing['since']}" if standing["since"] else ""
        state: Literal["warning", "problem"] = "warning" if standing["state"] == "paused" else "problem"
        told = "; ".join(filter(None, (standing["reason"], *wrong)))
        return Finding(check, state, f"{standing['state']}{since}: {told}")
    if wrong:
        return Finding(check, "warning", "; ".join(wrong))
    if bot.problems and (standing is None or standing["state"] == "config error"):
        return Finding(check, "problem", f"{bot.state}: {bot.reason}")
    if bot.warnings:
        return Finding(check, "warning", "; ".join(warning.text for warning in bot.warnings))
    version = bot.plugged.version if bot.plugged else (standing or {}).get("version", "")
    off = ", off" if bot.state == "off" else ""
    return Finding(check, "ok", f"{bot.config.plugin} {version} at {bot.config.path}{off}")


def listener(host: HostConfig) -> Finding:
    """Check that the host answers where the configuration says."""
    target = host_target(host)
    place = str(target.unix_socket) if target.unix_socket else target.url
    try:
        with contextlib.closing(open_connection(target, WAIT_S)) as connection:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
    except ConnectionRefusedError:
        return Finding("listener", "warning", nothing_at(target))
    except (OSError, http.client.HTTPException) as error:
        return Finding("listener", "problem", f"{place} does not answer: {error}")
    if status != 200:
        return Finding("listener", "problem", f"{place} answers {status} to /healthz: another program has the port")
    return Finding("listener", "ok", f"answers at {place}")


def page(host: HostConfig) -> Finding:
    """Check that the host says on the operator's listener that it is ready."""
    url = page_url(host)
    target = DeliveryTarget(url, own=True)
    try:
        with contextlib.closing(open_connection(target, WAIT_S)) as asked:
            asked.request("GET", "/readyz")
            status = asked.getresponse().status
    except ConnectionRefusedError:
        return Finding("page", "warning", nothing_at(target))
    except (OSError, http.client.HTTPException) as error:
        return Finding("page", "problem", f"{url} does not answer: {error}")
    if status == 200:
        return Finding("page", "ok", f"the host is ready, its page is at {url}")
    return Finding("page", "problem", f"the host is not ready: {url}readyz says why")


def disk(state: Path) -> Finding:
    """Check that the disk has room for the journal."""
    folder = next((one for one in (state, *state.parents) if one.exists()), state)
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Finding("disk", "problem", f"{folder}: {error.strerror}")
    free = f"{usage.free / (1 << 30):.1f} GB free at {folder}"
    if usage.free < LEAST_FREE_BYTES or usage.free < usage.total * LEAST_FREE:
        return Finding("disk", "problem", f"only {free}: a full disk refuses late events; make room or lower keep")
    return Finding("disk", "ok", free)


async def journal(host: HostConfig, clock: Clock) -> tuple[Finding, Mapping[str, str]]:
    """Write a fact and read it back. Return the finding and the facts of the journal."""
    began = clock.monotonic()
    try:
        async with visiting(host) as store:
            await store.control(TRIAL, "tried")
            facts = await store.controls()
            await store.control(TRIAL, None)
    except BothostError as error:
        state: Literal["warning", "problem"] = "problem" if host.journal or host.state.exists() else "warning"
        return Finding("journal", state, str(error)), {}
    if facts.get(TRIAL) != "tried":
        return Finding("journal", "problem", "what is written cannot be read back"), facts
    took = (clock.monotonic() - began) * 1000
    kind = "PostgreSQL" if host.journal else f"in {host.state}"
    return Finding("journal", "ok", f"{kind}: written and read in {took:.0f} ms"), facts


async def without_section(host: HostConfig, names: Container[str]) -> list[Finding]:
    """Look for open events of bots that are not in bots.ini."""
    try:
        async with visiting(host) as store:
            counts = await store.counts()
    except BothostError:  # the check of the journal says so
        return []
    return [
        Finding(f"events of {name}", "problem", said_of_no_bot(name, count))
        for name, count in without_bot(counts, names).items()
    ]


def without_login(config: BotConfig, refused: str) -> Finding:
    """Warn of a bot without a login; a learnt one that Pyrus has `refused` is a problem."""
    check = f"login of {config.name}"
    if refused:
        text = f"Pyrus refuses the learnt {refused}, so late replies wait: set login = bot@… and check `secret`"
        return Finding(check, "problem", text)
    text = "not set and not learnt yet: a late reply of this bot does not outlive the process; set login = bot@…"
    return Finding(check, "warning", text)


LOGIN_S = 10.0
"""A person waits for the report, and all bots are asked at once."""


class NoSharedLimits:
    """Replace the journal for the client: doctor shares no lease and no rate limit with anybody."""

    def alive(self) -> bool:
        """Return true, because these calls claim nothing."""
        return True

    def lost(self) -> set[str]:
        """Return nothing, because nothing was held."""
        return set()

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """Grant the call: each bot makes only one."""
        del name, want, rate_per_s, cap
        return 0.0

    async def gate_reset(self, name: str, tokens: float) -> None:
        """Ignore it."""

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """Do nothing, because nobody keeps the comment."""

    async def wait_hint(self, seconds: float) -> None:
        """Do nothing, because nobody waits for it."""


def way_out(network: Network) -> Finding:
    """Name the proxy, the exceptions from it, and the certificates that calls to Pyrus go by; no password."""
    said = [f"{scheme} by the proxy {bare(proxy)}" for scheme, proxy in sorted(network.proxies.items())]
    if said and network.no_proxy:
        said.append(f"not for {network.no_proxy}")
    if network.ca_file is not None:
        said.append(f"certificates of {network.ca_file} are trusted too")
    if file := os.environ.get("SSL_CERT_FILE"):
        said.append(f"SSL_CERT_FILE is {file}")
    return Finding("calls to Pyrus", "ok", "; ".join(said) or "go out directly, by the system's certificates")


async def logins(bots: Sequence[BotConfig], clock: Clock, dates: list[float], network: Network) -> list[Finding]:
    """Log in as each bot and ask who it is. `dates` gets the differences between Pyrus's clock and ours."""
    if not bots:
        return []
    from bothost.pyrus_client.client import PyrusClient
    from bothost.pyrus_client.http_transport import HttpTransport

    client = PyrusClient(clock, NoSharedLimits(), HttpTransport(network), user_agent=f"bothost/{__version__}")
    try:
        return list(await asyncio.gather(*(_login(client, config, clock, dates) for config in bots)))
    finally:
        await client.close()


async def _login(client: PyrusClient, config: BotConfig, clock: Clock, dates: list[float]) -> Finding:
    from bothost.pipeline.assembly import caller_of
    from bothost.pyrus.rest import requests
    from bothost.pyrus_client.session import PyrusSession, SessionTerms

    check = f"login of {config.name}"
    try:
        async with asyncio.timeout(LOGIN_S):
            response = await PyrusSession(client, caller_of(config), SessionTerms(late=True)).send(requests.profile())
    except TimeoutError:
        return Finding(check, "problem", f"{config.login}: Pyrus has not answered within {LOGIN_S:g} s")
    except CallError as error:
        whose = "" if config.login in str(error) else f"{config.login}: "
        return Finding(check, "problem", f"{whose}{error}")
    _note_date(response.headers.get("date"), clock, dates)
    return Finding(check, "ok", f"{config.login} logs in and asks who it is")


def public(url: str, clock: Clock, dates: list[float]) -> list[Finding]:
    """Ask the public address as Pyrus would, and check its certificate's chain."""
    parts = urlsplit(url)
    try:
        with contextlib.closing(_public_connection(parts.scheme, parts.hostname or "", parts.port)) as connection:
            connection.request("GET", f"{parts.path}/healthz")
            until = _certificate_end(connection)
            response = connection.getresponse()
            status = response.status
            _note_date(response.headers.get("Date"), clock, dates)
    except ssl.SSLCertVerificationError as error:
        text = f"{url}: {error.verify_message}: Pyrus will not call it; does the proxy send the whole chain?"
        return [Finding("public address", "problem", text)]
    except (OSError, http.client.HTTPException) as error:
        return [Finding("public address", "problem", f"{url} does not answer: {error}")]
    findings = [_answered(url, status)]
    if until is not None:
        days = (until - clock.now()).total_seconds() / 86400
        state: Literal["ok", "problem"] = "ok" if days >= LEAST_DAYS else "problem"
        findings.append(
            Finding("certificate", state, f"ends in {days:.0f} days" + ("" if state == "ok" else ": renew it"))
        )
    elif parts.scheme == "http":
        findings.append(Finding("certificate", "warning", "the public address is http: Pyrus wants https"))
    return findings


def _public_connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=WAIT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=WAIT_S)


def _answered(url: str, status: int) -> Finding:
    if status == 200:
        return Finding("public address", "ok", f"{url} reaches a host")
    return Finding("public address", "problem", f"{url}/healthz answers {status}: does the proxy pass every path on?")


def _certificate_end(connection: http.client.HTTPConnection) -> datetime | None:
    if not isinstance(connection.sock, ssl.SSLSocket):
        return None
    end = (connection.sock.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(end)), UTC) if end else None


def _note_date(header: str | None, clock: Clock, dates: list[float]) -> None:
    with contextlib.suppress(TypeError, ValueError):
        dates.append((parsedate_to_datetime(header or "") - clock.now()).total_seconds())


def time_of_day(clock: Clock, dates: Sequence[float]) -> Finding:
    """Compare our clock with those of the servers that were asked."""
    if not dates:
        shown = clock.now().strftime("%Y-%m-%d %H:%M:%S UTC")
        return Finding("clock", "ok", f"{shown}; nobody was asked for the time (no login, no public_url)")
    skew = min(dates, key=abs)
    if abs(skew) > MOST_SKEW_S:
        way = "behind" if skew > 0 else "ahead"
        return Finding("clock", "problem", f"{abs(skew):.0f} s {way} of the servers asked: start a time service")
    return Finding("clock", "ok", "agrees with the servers asked")
