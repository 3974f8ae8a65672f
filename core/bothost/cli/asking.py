"""What a running host says of itself, asked at the operator's listener with the operator's token."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from bothost.cli.token import page_url
from bothost.operator_token import stored
from bothost.store import Entry

if TYPE_CHECKING:
    from bothost.config import HostConfig

WAIT_S = 5.0


def asked_of_host(host: HostConfig) -> list[dict[str, Any]] | None:
    """How each bot stands; None where no host answers to this configuration's token."""
    rows = _json_at(host, "/bots.json")
    return rows if isinstance(rows, list) else None


def waiting_at_host(host: HostConfig) -> list[Entry]:
    """What stands in line in the running host's memory; nothing where no host answers."""
    try:
        return msgspec.convert(_json_at(host, "/waiting.json") or [], list[Entry])
    except msgspec.ValidationError:  # a host of another version
        return []


def cancelled_at_host(host: HostConfig, key: str) -> bool:
    """Whether the running host took the wish to end this entry."""
    answer = _answer(host, "POST", f"/deliveries/{quote(key, safe='')}/cancel")
    return answer is not None and answer[0] == http.client.SEE_OTHER


def _json_at(host: HostConfig, path: str) -> Any:
    answer = _answer(host, "GET", path)
    try:
        return json.loads(answer[1]) if answer is not None and answer[0] == http.client.OK else None
    except ValueError:
        return None


def _answer(host: HostConfig, method: str, path: str) -> tuple[int, bytes] | None:
    parts = urlsplit(page_url(host))
    if not parts.hostname:
        return None
    try:
        token = host.operator_token or stored(host.state)
        if token is None:
            return None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Authorization": f"Bearer {token.reveal()}"})
            response = connection.getresponse()
            return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
