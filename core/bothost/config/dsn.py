"""Check the address of a PostgreSQL journal. No message quotes any of it, because it may hold a password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bothost.text import nearest

SCHEMES = ("postgresql://", "postgres://")
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_ESCAPES = "write the password's % as %25, / as %2F, ? as %3F, # as %23, @ as %40 and [ as %5B"
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z_]+=[^=@]*|(?:user|password|host|options)=.*", re.ASCII)


def dsn_problem(text: str) -> str:
    """Return what is wrong with the address of a journal, or ""."""
    if not text.startswith(SCHEMES):
        scheme = text.partition("://")[0] if "://" in text else ""
        near = nearest(scheme, ("postgresql",)) if scheme and len(scheme) < 16 and scheme.isalpha() else ""
        return f"is not a PostgreSQL address{near}: write {_EXAMPLE}, or nothing"
    if re.search(r"%(?![0-9A-Fa-f]{2})", text, re.ASCII):
        return f"has a % without two hex digits behind it: {_ESCAPES}"
    if re.search(r"\s", text):
        return "holds a blank: write it as %20"
    try:
        parts = urlsplit(text)
    except ValueError:
        return f"cannot be read as an address: {_ESCAPES}"
    if parts.fragment or text.endswith("#"):
        return f"holds a #, where an address ends: {_ESCAPES}"
    parameters = [one for one in parts.query.split("&") if one]
    if "@" in parts.path or not all(_PARAMETER.fullmatch(one) for one in parameters):
        return f"has an @ behind its host, or a parameter that is not name=value: {_ESCAPES}"
    return _hosts_problem(parts.netloc)


def _hosts_problem(netloc: str) -> str:
    user, _, hosts = netloc.rpartition("@")
    if "[" in user or "]" in user:
        return f"holds a [ or ] before its @: {_ESCAPES}"
    for host in hosts.split(","):
        if host.startswith("/"):
            continue
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if colon and (not _PORT.fullmatch(port) or not 0 < int(port) < 65536):
            return f"has no number from 1 to 65535 as its port, or a password with / ? or #: {_ESCAPES}"
        if colon and ":" in name and not name.startswith("["):
            return "has an IPv6 address without [ ] around it, or too many colons: write HOST:PORT"
    return ""
