"""Read `[host]`: its keys, and the rules between them and the environment."""

from __future__ import annotations

import os
import re
import ssl
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bothost.config.dsn import dsn_problem
from bothost.config.ini import IniItem
from bothost.config.secrets import SHORTEST_SECRET, SecretText, Unset
from bothost.config.section import ConfigKey, SectionReader, unknown
from bothost.config.units import choice, number, seconds, truth, words
from bothost.config.values import HostConfig
from bothost.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bothost.config.secrets import SecretSources

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?", re.ASCII)
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?", re.ASCII)
_LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes, and the temporary name beside it is a little longer


def positive(text: str) -> float:
    """Read a duration above zero."""
    value = seconds(text)
    if value <= 0:
        raise ValueError("must be more than zero: write 50s, 15m or 7d")
    return value


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach a listener on this address."""
    if address.lower() == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def page_by_tls(host: HostConfig) -> bool:
    """Return whether the operator's listener speaks TLS: there is a certificate, and the address is beyond loopback."""
    return host.certfile is not None and not is_loopback(host.operator_address)


def read_address(text: str) -> str:
    """Read an IP address or a host name, without a port."""
    if text == "*":
        return text
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    if re.fullmatch(r"[0-9.]+", text) or not _NAME.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is not an address: write 127.0.0.1, 0.0.0.0, * (all of IPv4 and IPv6) or a host name; the port has its own key"
        )
    return text


def read_proxies(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read addresses and networks such as 10.0.0.0/8."""
    try:
        return tuple(ip_network(word, strict=False) for word in words(text))
    except ValueError as error:
        raise ValueError(f"{error}: write addresses or networks such as 10.0.0.5 10.1.0.0/16") from None


def read_hosts(text: str) -> tuple[str, ...]:
    """Read the host names under which the page is served, each with or without a port. Returns them in lower case."""
    for word in words(text):
        if not _HOST_PORT.fullmatch(word):
            raise ValueError(f"{shown(word)} is not a host name: write ops.example.com or ops.example.com:8443")
    return tuple(word.lower() for word in words(text))


def read_public_url(text: str) -> str:
    """Read http(s)://HOST[:PORT][/PREFIX], and return it without a slash at its end."""
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError(f"{shown(text)} is not a public URL: write https://bots.example.com")
    return text.rstrip("/")


def read_proxy(text: str) -> str:
    """Read http://[USER:PASSWORD@]HOST[:PORT]. The error quotes nothing of it, because it may hold a password."""
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or port == 0 or parts.query or parts.path.strip("/"):
        raise ValueError("is not a proxy's address: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    return text.rstrip("/")


def read_public_path(text: str) -> str:
    """Read the path under which a proxy shows the page, and return it without a slash at its end."""
    # browsers resolve "." and ".." by themselves
    if not re.fullmatch(r"/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?", text):
        raise ValueError(f"{shown(text)} is not a path: write /bothost")
    return text.rstrip("/")


def read_connections(text: str) -> int | None:
    """Read `auto` (None) or a number."""
    return None if text == "auto" else number(text, 1, 10_000_000)


def _path(folder: Path, text: str) -> Path:
    if "\0" in text:
        raise ValueError("no file name has a NUL")
    return folder / text


def _port(text: str) -> int:
    return number(text, 0, 65535)


def keys(folder: Path) -> dict[str, ConfigKey]:
    """Return the grammar of [host]. Relative paths are relative to `folder`."""
    path = partial(_path, folder)
    return {
        "address": ConfigKey("address", read_address),
        "port": ConfigKey("port", _port),
        "unix_socket": ConfigKey("unix_socket", path, empty=True),
        "state": ConfigKey("state", path),
        "operator_address": ConfigKey("operator_address", read_address),
        "operator_port": ConfigKey("operator_port", _port),
        "operator_hosts": ConfigKey("operator_hosts", read_hosts, empty=True, lines=True),
        "metrics_open": ConfigKey("metrics_open", truth),
        "processes": ConfigKey("processes", partial(number, low=1, high=256)),
        "log": ConfigKey("log", partial(choice, allowed=("auto", "pretty", "json"))),
        "log_level": ConfigKey("log_level", partial(choice, allowed=("debug", "info", "warning", "error"))),
        "drain": ConfigKey("drain_s", seconds),
        "xheaders": ConfigKey("xheaders", truth),
        "trusted_proxies": ConfigKey("trusted_proxies", read_proxies, empty=True, lines=True),
        "certfile": ConfigKey("certfile", path, empty=True),
        "keyfile": ConfigKey("keyfile", path, empty=True),
        "max_connections": ConfigKey("max_connections", read_connections),
        "header_timeout": ConfigKey("header_timeout_s", positive),
        "body_timeout": ConfigKey("body_timeout_s", positive),
        "idle_timeout": ConfigKey("idle_timeout_s", positive),
        "public_url": ConfigKey("public_url", read_public_url, empty=True),
        "public_path": ConfigKey("public_path", read_public_path, empty=True),
        "on_failure": ConfigKey("on_failure", str, empty=True),
        "no_proxy": ConfigKey("no_proxy", str, empty=True),
        "ca_file": ConfigKey("ca_file", path, empty=True),
        "on_trouble": ConfigKey("on_trouble", str, empty=True),
    }


DEFAULT_TOKEN = "env:BOTHOST_OPERATOR_TOKEN"  # noqa: S105 - where it is looked for

SECRET_KEYS = ("journal", "proxy", "operator_token", "operator_read_token")
"""Keys whose values are resolved as secrets are, and never shown."""


def read_host(
    values: SectionReader, sources: SecretSources, path: Path, elsewhere: Mapping[str, str], *, demo: bool
) -> HostConfig | None:
    """Return the values of [host] after its rules and the environment's variables. None if `values` has problems."""
    grammar = keys(path.parent)
    for item in values.section.items.values():
        if item.key in grammar:
            values.take(item, grammar[item.key])
        elif item.key not in SECRET_KEYS:
            values.wrong(
                unknown(item.key, {**grammar, **dict.fromkeys(SECRET_KEYS, grammar["log"])}, elsewhere), item.key
            )
    _secrets(values, sources)
    if demo:
        _demo_listener(values.found)
    else:
        _environment(values, sources.env)
    _rules(values)
    if values.problems:
        return None
    return HostConfig(path=path, **{"state": path.parent / "state", **values.found})


def _secrets(values: SectionReader, sources: SecretSources) -> None:
    unsaid = {"operator_token": IniItem("operator_token", DEFAULT_TOKEN, values.section.line)}
    for name in ("operator_token", "operator_read_token"):
        if item := values.section.items.get(name) or unsaid.get(name):
            try:
                values.found[name] = values.hidden(item, sources)
            except Unset:
                values.found[name] = None  # as if the line were absent: a token is made at first start
    if item := values.section.items.get("proxy"):
        try:
            proxy = values.hidden(item, sources)
            values.found["proxy"] = read_proxy(proxy.reveal()) if proxy else ""
        except ValueError as error:  # Unset is one
            values.wrong(str(error), "proxy")
    if item := values.section.items.get("journal"):
        try:
            dsn = values.hidden(item, sources)
        except Unset as error:
            values.wrong(str(error), "journal")
            return
        values.found["journal"] = _dsn(dsn, values)


def _dsn(dsn: SecretText | None, values: SectionReader) -> str:
    text = dsn.reveal() if dsn else ""
    if text and (why := dsn_problem(text)):
        values.wrong(why, "journal")
    return text


def _demo_listener(found: dict[str, Any]) -> None:
    for name in ("address", "operator_address"):
        if not is_loopback(found.get(name, "127.0.0.1")):
            found[name] = "127.0.0.1"
    found["unix_socket"] = None


def _environment(values: SectionReader, env: Mapping[str, str]) -> None:
    """Apply PORT and BOTHOST_ADDRESS.

    PORT makes the listener public unless an address is set, and it wins over a socket. BOTHOST_ADDRESS wins over all else.
    """
    for name, read in (("PORT", _port), ("BOTHOST_ADDRESS", read_address)):
        text = env.get(name, "").strip()
        if not text:
            continue
        try:
            values.found["port" if name == "PORT" else "address"] = read(text)
        except ValueError as error:
            values.wrong(f"the environment's {name}: {error}")
        if name == "PORT":
            values.found.update(port_from_env=True, unix_socket=None)
            values.found.setdefault("address", "0.0.0.0")  # noqa: S104 - a platform's router must reach it


def _rules(values: SectionReader) -> None:
    _proxies(values)
    _certificate(values)
    _ca_file(values)
    _listeners(values)
    _tokens(values)


def _proxies(values: SectionReader) -> None:
    found = values.found
    closed = found.get("unix_socket") or is_loopback(found.get("address", "127.0.0.1"))
    if found.get("xheaders") and not found.get("trusted_proxies") and not closed:
        text = "on a network address anybody can send X-Forwarded-For: name the proxies in trusted_proxies"
        values.wrong(text, "xheaders")


def _certificate(values: SectionReader) -> None:
    found = values.found
    for name, other in (("certfile", "keyfile"), ("keyfile", "certfile")):
        file = found.get(name)
        if file and not found.get(other):
            values.wrong(f"needs {other} beside it (both may name one file)", name)
        if file and not os.path.isfile(file):  # unlike a Path's, it takes a name that no file can have
            values.wrong(f"there is no file {str(file)[:300]}", name)


def _ca_file(values: SectionReader) -> None:
    file = values.found.get("ca_file")
    if not file:
        return
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # SSLError is one
        values.wrong(f"{file} holds no certificates that can be read: {error.strerror or error}", "ca_file")


def _listeners(values: SectionReader) -> None:
    found = values.found
    socket = found.get("unix_socket")
    if socket and len(bytes(socket)) > _LONGEST_SOCKET_PATH:
        text = f"the whole path is longer than {_LONGEST_SOCKET_PATH} bytes, the most that a socket's may have"
        values.wrong(text, "unix_socket")
    port, operator_port = found.get("port", 8080), found.get("operator_port", 8081)
    same = found.get("address", "127.0.0.1") == found.get("operator_address", "127.0.0.1")
    if port == operator_port != 0 and same and not socket:
        key = "operator_port" if "operator_port" in values.section.items else "port"
        values.wrong(f"the public listener and the page cannot both have port {port}: give them two", key)


def _tokens(values: SectionReader) -> None:
    found = values.found
    token, read_token = found.get("operator_token"), found.get("operator_read_token")
    beyond = not is_loopback(found.get("operator_address", "127.0.0.1")) and found.get("operator_port", 8081) != 0
    if beyond and token is None:
        values.wrong(
            f"beyond loopback the page needs an operator_token of {SHORTEST_SECRET} characters or more",
            "operator_address",
        )
    for name, value in (("operator_token", token), ("operator_read_token", read_token)):
        if value is not None and len(value.reveal()) < SHORTEST_SECRET:
            text = f"is shorter than {SHORTEST_SECRET} characters"
            if beyond:
                values.wrong(f"{text}: write a longer one, because beyond loopback a short one is refused", name)
            else:
                values.warn(f"{text}: write a longer one, because whoever gets to this machine could guess it", name)
    if token is not None and read_token is not None and token == read_token:
        values.wrong(
            "is the operator_token itself, so it could change everything: write another value", "operator_read_token"
        )
