"""Check the guards of hooks, by a signature or a token, before anything of a request is parsed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import msgspec

from bothost.errors import PluginError
from bothost.plugins.guard_marks import DIGESTS, ENCODINGS, HEADER_NAME, Digest, Encoding
from bothost.plugins.handlers import setting
from bothost.plugins.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bothost.plugins.guard_marks import GuardMark
    from bothost.plugins.http import RawRequest

MASKED = "***"
SHORTEST_MASKED = 8
"""A shorter secret stands in texts by chance."""


class SignedGuard(msgspec.Struct, frozen=True, tag="signed"):
    """The HMAC of the raw body stands in a header; `timestamp` names one whose value and a point go before the body."""

    secret: bytes
    header: str
    digest: Digest = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    timestamp: str = ""
    tolerance_s: float = 300.0

    def __repr__(self) -> str:
        return f"signed({self.header}, {self.digest})"


class TokenGuard(msgspec.Struct, frozen=True, tag="token"):
    """A secret stands in a header (also behind `Bearer`), or in the query."""

    secret: bytes
    header: str = ""
    query: str = ""

    def __repr__(self) -> str:
        return f"token({self.query or self.header})"


class OpenGuard(msgspec.Struct, frozen=True, tag="anyone"):
    """Everybody may call."""

    def __repr__(self) -> str:
        return "anyone"


class FunctionGuard(msgspec.Struct, frozen=True, tag="function"):
    """A function of the plugin decides."""

    def __repr__(self) -> str:
        return "a function of the plugin"


GuardRule = SignedGuard | TokenGuard | OpenGuard | FunctionGuard


def rule_of(mark: GuardMark, settings: object, where: str) -> GuardRule:
    """Return the guard with its secret read. Raises PluginError if there is no such setting or it is empty."""
    if mark.kind == "anyone":
        return OpenGuard()
    found = setting(mark.secret, settings, f"{where}: {mark.kind}()")
    if not isinstance(found, Secret):
        raise PluginError(f"{where}: {mark.kind}({mark.secret!r}) is no Secret; declare `{mark.secret[9:]}: Secret`")
    secret = found.reveal().encode()
    if not secret:
        raise PluginError(f"{where}: {mark.kind}({mark.secret!r}) is empty, so everybody could call")
    options = {name: setting(value, settings, f"{where}: {mark.kind}({name}=)") for name, value in mark.options}
    for name in ("header", "timestamp"):
        if options.get(name) and not HEADER_NAME.fullmatch(str(options[name])):
            raise PluginError(
                f"{where}: {mark.kind}({name}=): {options[name]!r:.80} is no header's name such as X-Signature"
            )
    return _token(secret, options, where) if mark.kind == "token" else _signed(secret, options, where)


def _token(secret: bytes, options: dict[str, Any], where: str) -> TokenGuard:
    if not (options["header"] or options["query"]):
        raise PluginError(f"{where}: token() needs the name of a header or of a key of the query")
    return TokenGuard(secret, **options)


def _signed(secret: bytes, options: dict[str, Any], where: str) -> SignedGuard:
    if not options["header"] or options["digest"] not in DIGESTS or options["encoding"] not in ENCODINGS:
        raise PluginError(
            f"{where}: signed() needs a header, a digest of {', '.join(DIGESTS)}, and the encoding hex or base64"
        )
    return SignedGuard(secret, **options)


def passes(guard: GuardRule, request: RawRequest, now: float) -> bool:
    """Return whether a request may come in, by a guard that needs no code of the plugin. Never raises; in constant time."""
    match guard:
        case SignedGuard():
            return _is_signed(guard, request, now)
        case TokenGuard():
            return _has_token(guard, request)
        case OpenGuard():
            return True
        case FunctionGuard():
            return False


def without_secret(guard: GuardRule, request: RawRequest, secrets: Iterable[str]) -> RawRequest:
    """Return the request as the journal may keep it: what a token guard was shown is masked, and each of the bot's `secrets`
    that a function of the plugin has looked for.
    """
    if isinstance(guard, FunctionGuard):
        return _masked(request, secrets)
    if not isinstance(guard, TokenGuard):
        return request
    headers = [
        (name, MASKED if guard.header and name.lower() == guard.header.lower() else value)
        for name, value in request.headers
    ]
    query = request.query
    if guard.query:
        shown = [(name, MASKED if name == guard.query else value) for name, value in _pairs(query)]
        query = "&".join(f"{name}={value}" for name, value in shown)
    return msgspec.structs.replace(request, headers=headers, query=query)


def _masked(request: RawRequest, secrets: Iterable[str]) -> RawRequest:
    for secret in secrets:
        if len(secret) < SHORTEST_MASKED:
            continue
        headers = [(name, value.replace(secret, MASKED)) for name, value in request.headers]
        query = request.query.replace(secret, MASKED).replace(quote(secret, safe=""), MASKED)
        body = request.body.replace(secret.encode(), MASKED.encode())
        request = msgspec.structs.replace(request, headers=headers, query=query, body=body)
    return request


def sign_headers(guard: SignedGuard, body: bytes, now: float) -> dict[str, str]:
    """Return the headers by which a request passes this guard."""
    headers = {}
    message = body
    if guard.timestamp:
        headers[guard.timestamp] = str(int(now))
        message = str(int(now)).encode() + b"." + body
    made = hmac.new(guard.secret, message, guard.digest).digest()
    text = made.hex() if guard.encoding == "hex" else base64.b64encode(made).decode()
    headers[guard.header] = guard.prefix + text
    return headers


def credentials(guard: GuardRule, body: bytes, now: float) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the query by which a request passes a guard, as far as a guard tells."""
    if isinstance(guard, SignedGuard):
        return sign_headers(guard, body, now), {}
    if isinstance(guard, TokenGuard):
        secret = guard.secret.decode()
        return ({}, {guard.query: secret}) if guard.query else ({guard.header: f"Bearer {secret}"}, {})
    return {}, {}


def _is_signed(guard: SignedGuard, request: RawRequest, now: float) -> bool:
    given = _only(request, guard.header)
    if given is None or not given.startswith(guard.prefix):
        return False
    claimed = _decoded(given[len(guard.prefix) :].strip(), guard.encoding)
    if claimed is None:
        return False
    message = request.body
    if guard.timestamp:
        stamp = _only(request, guard.timestamp)
        if stamp is None or not _is_fresh(stamp, now, guard.tolerance_s):
            return False
        message = stamp.encode("latin-1", "replace") + b"." + request.body
    return hmac.compare_digest(hmac.new(guard.secret, message, getattr(hashlib, guard.digest)).digest(), claimed)


def _is_fresh(stamp: str, now: float, tolerance_s: float) -> bool:
    try:
        at = float(stamp)
    except ValueError:
        return False
    return math.isfinite(at) and abs(now - at) <= tolerance_s


def _decoded(text: str, encoding: Encoding) -> bytes | None:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def _has_token(guard: TokenGuard, request: RawRequest) -> bool:
    if guard.query:
        values = [value for name, value in _pairs(request.query) if name == guard.query]
        given = values[0] if len(values) == 1 else None
    else:
        given = _only(request, guard.header)
        if given is not None and given[:7].lower() == "bearer ":
            given = given[7:].strip()
    return given is not None and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), guard.secret)


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return []


def _only(request: RawRequest, name: str) -> str | None:
    """Return the value of a header that stands there once; None if it is absent or stands there several times."""
    values = [value for one, value in request.headers if one.lower() == name.lower()]
    return values[0].strip() if len(values) == 1 else None
