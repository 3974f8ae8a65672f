"""Ask a running host, at the operator's listener with the operator's token, or else its journal."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from bothost.cli.http_delivery import DeliveryTarget, host_target, open_connection
from bothost.cli.journal_access import visiting
from bothost.cli.output import warn
from bothost.cli.token import page_url
from bothost.errors import BothostError
from bothost.journal.entry import Entry
from bothost.operator.access_token import stored
from bothost.operator.harm import WRONG_SHARE
from bothost.operator.manual_tick import TickReport
from bothost.plugins.discovery import newer_than, upgrade_note
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bothost.config import HostConfig

WAIT_S = 5.0


def asked_of_host(host: HostConfig) -> list[dict[str, Any]] | None:
    """Return the state of each bot, or None if no host answers to this configuration's token.

    `installed` is the version of its plugin that a restart would take, "" where that runs already.
    """
    rows = _json_at(host, "/bots.json")
    if not isinstance(rows, list):
        return None
    newer = newer_than({row["plugin"]: row["version"] for row in rows})
    return [{**row, "installed": newer.get(row["plugin"], "")} for row in rows]


def waiting_at_host(host: HostConfig) -> list[Entry]:
    """Return the events that wait in the running host's memory; none if no host answers."""
    try:
        return msgspec.convert(_json_at(host, "/waiting.json") or [], list[Entry])
    except msgspec.ValidationError:  # a host of another version
        return []


def cancelled_at_host(host: HostConfig, key: str, who: str) -> bool:
    """Ask the running host to cancel this entry for `who`; return whether it did."""
    answer = _answer(host, "POST", f"/deliveries/{quote(key, safe='')}/cancel", who=who)
    return answer is not None and answer[0] == http.client.SEE_OTHER


def ticked_at_host(host: HostConfig, bot: str, timer: str, due: datetime, limit_s: float) -> TickReport | None:
    """Have the running host run a timer, and return what became of it. None if no host answers to this configuration's token."""
    form = urlencode({"timer": timer, "at": due.isoformat()})
    answer = _answer(host, "POST", f"/bots/{quote(bot)}/tick.json", form, limit_s)
    if answer is None or answer[0] != http.client.OK:
        return None
    return msgspec.json.decode(answer[1], type=TickReport)


def _json_at(host: HostConfig, path: str) -> Any:
    answer = _answer(host, "GET", path)
    try:
        return json.loads(answer[1]) if answer is not None and answer[0] == http.client.OK else None
    except ValueError:
        return None


def _answer(
    host: HostConfig, method: str, path: str, form: str = "", limit_s: float = WAIT_S, who: str = ""
) -> tuple[int, bytes] | None:
    url = page_url(host)
    if not url:
        return None
    try:
        token = host.operator_token or stored(host.state)
        if token is None:
            return None
        with contextlib.closing(open_connection(DeliveryTarget(url, own=True), limit_s)) as connection:
            headers = {"Authorization": f"Bearer {token.reveal()}", "X-Bothost-Operator": quote(who)}
            connection.request(method, path, form or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
    except TimeoutError:
        warn(
            f"warning: a host is at {url} and gave no answer within {limit_s:g} s, so what only it knows is missing here: it is "
            "stopped or overloaded (bothost doctor)"
        )
        return None
    except (OSError, http.client.HTTPException):
        return None


def wrong_with(row: Mapping[str, Any]) -> list[str]:
    """Return what else is wrong with a bot besides its state's reason, each with what to do."""
    bot = row["bot"]
    told = [f"bothost resume {bot}"] if row["state"] in ("paused", "quarantined") else []
    if installed := row.get("installed"):
        told.append(upgrade_note(installed, row["version"]))
    if row["kept"]:
        told.append(f"serves as it was, because its new section cannot be used: {row['kept']}")
    if tasks := row["paused_tasks"]:
        told.append(f"paused in task {', '.join(map(str, tasks))}: bothost resume {bot} --task ID")
    told += _failures(bot, row)
    if wrong := row.get("wrong_signatures_last_hour"):
        told.append(_wrong_signatures(wrong, row["deliveries_last_hour"] or wrong, row["wrong_signatures_from"]))
    if blocked := row["blocked_s"]:
        told.append(f"blocked the event loop for {blocked:.1f} s: the log names file and line")
    return told


def _failures(bot: str, row: Mapping[str, Any]) -> list[str]:
    """Return how many replies and runs of the last hour failed, and the newest error."""
    told = []
    if unposted := row.get("unposted_replies"):
        told.append(_unposted(bot, unposted, row["no_login"], row.get("replies_tried_again", 0)))
    if failed := row["failed_runs_last_hour"]:
        told.append(f"{counted(failed, 'run')} failed within the hour: bothost deliveries list --bot {bot}")
    if last := row.get("last_error"):
        told.append(f"the last: {last}")
    return told


def _unposted(bot: str, count: int, no_login: int, again: int) -> str:
    told = f"{counted(count, 'reply', 'replies')} NOT posted within the hour"
    if no_login:
        return f"{told}: it has no login; set it, then bothost deliveries retry --bot {bot} --state failed"
    if again == count:
        return f"{told}, and tried again: bothost deliveries list --bot {bot} --state posting"
    told += f" ({again} tried again)" if again else ""
    return f"{told}: bothost deliveries list --bot {bot} --state failed"


def _wrong_signatures(wrong: int, deliveries: int, peer: str) -> str:
    """Tell a wrong secret, which nearly all deliveries fail, from a stranger."""
    whence = f", from {peer}" if peer else ""
    told = f"wrong signature of {wrong} of {deliveries} in the last hour{whence}"
    if wrong >= WRONG_SHARE * deliveries:
        return f"{told}: is its secret the one in Pyrus?"
    return f"{told}: probably a stranger"


def facts_beside(host: HostConfig) -> Mapping[str, str] | None:
    """Return the journal's facts about the bots (`pause:NAME` …) for a host whose page cannot be asked.

    None if no host answers at the public address.
    """
    try:
        with contextlib.closing(open_connection(host_target(host), WAIT_S)) as connection:
            connection.request("GET", "/healthz")
            if connection.getresponse().status != 200:
                return None
    except (OSError, http.client.HTTPException):
        return None
    with contextlib.suppress(BothostError):
        return asyncio.run(_facts(host))
    return {}


async def _facts(host: HostConfig) -> Mapping[str, str]:
    async with visiting(host) as journal:
        return await journal.controls()
