"""What a running host says of itself, asked at the operator's listener with the operator's token."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bothost.cli.token import page_url
from bothost.operator_token import stored

if TYPE_CHECKING:
    from bothost.config import HostConfig

WAIT_S = 5.0


def asked_of_host(host: HostConfig) -> list[dict[str, Any]] | None:
    """How each bot stands; None where no host answers to this configuration's token."""
    parts = urlsplit(page_url(host))
    if not parts.hostname:
        return None
    try:
        token = host.operator_token or stored(host.state)
        if token is None:
            return None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request("GET", "/bots.json", headers={"Authorization": f"Bearer {token.reveal()}"})
            response = connection.getresponse()
            rows = json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return rows if isinstance(rows, list) else None
