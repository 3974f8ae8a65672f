"""Define the limits of a connection: head bytes and lines, body bytes, times. The operator's page sets a larger head."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The amounts and times that strangers may hold."""

    max_connections: int = 1000
    header_s: float = 10.0
    """The seconds from a connection's start (TLS handshake included) to the end of its first request head."""
    body_s: float = 60.0
    """The seconds from the end of a head to the end of its body. A response that its reader does not take has as many."""
    idle_s: float = 75.0
    """The seconds from an answer to the end of the next request head."""
    lingering_s: float = 2.0
    """The seconds from the refusal of bytes that are no HTTP to the connection's end, so that the sender can read the refusal."""
    head_bytes: int = 8192
    """The most bytes of a request line with its headers, the same as in common proxies."""
    head_lines: int = 100
    body_bytes: int | None = None
    """The largest body. None: the application limits its bodies by itself."""
    dropped_bytes: int = 64 << 20
    """The bytes of a refused body that are read and dropped, so that its sender comes to read the refusal."""
    sweep_s: float = 1.0
