"""Define the guards of hooks as authors write them: `signed`, `token` and `anyone`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from bothost.config.units import span
from bothost.plugins.explained import explained

if TYPE_CHECKING:
    from datetime import timedelta

Digest = Literal["sha256", "sha1", "sha512"]
Encoding = Literal["hex", "base64"]
DIGESTS = ("sha256", "sha1", "sha512")
ENCODINGS = ("hex", "base64")
SIGNED = 'signed("settings.NAME", header="X-Signature")'
TOKEN = 'token("settings.NAME")'  # noqa: S105 - how one is written
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class GuardMark:
    """A guard as the author wrote it: its secret is a setting's name that is read when the plugin is loaded."""

    kind: Literal["signed", "token", "anyone"]
    secret: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, *_: object) -> NoReturn:
        """Raise TypeError: it is no function."""
        written = {"signed": SIGNED, "token": TOKEN, "anyone": "anyone"}[self.kind]
        raise TypeError(f"{self.kind} is a guard and is not called: write @hook(NAME, {written})")


anyone = GuardMark("anyone")
"""Lets everybody call a hook; `check` and `doctor` warn of it once."""


@explained
def signed(  # noqa: PLR0913 - the author's API names each
    secret: str,
    *,
    header: str,
    digest: Digest | str = "sha256",
    encoding: Encoding | str = "hex",
    prefix: str = "",
    timestamp: str | None = None,
    tolerance: str | timedelta = "5m",
) -> GuardMark:
    """Let those call whose `header` holds the HMAC of the raw body by a secret, `"settings.NAME"`.

    `prefix` stands before it ("sha256="). `timestamp` names a header with seconds since 1970, not older or newer than
    `tolerance`, whose value and a point are signed before the body. Each but `tolerance` may be a setting, `"settings.NAME"`,
    so that the operator says how a service signs.
    """
    for name, one, known in (("digest", digest, DIGESTS), ("encoding", encoding, ENCODINGS)):
        if one not in known and not _names_setting(one):
            raise TypeError(f"signed: {name}={one!r:.80} is none of {', '.join(known)}")
    options = {
        "header": _header("signed", "header", header),
        "digest": digest,
        "encoding": encoding,
        "prefix": _text("signed", "prefix", prefix),
        "timestamp": _header("signed", "timestamp", timestamp) if timestamp else "",
        "tolerance_s": _tolerance(tolerance),
    }
    return GuardMark("signed", _secret(secret, "signed"), tuple(options.items()))


@explained
def token(secret: str, *, header: str = "", query: str = "") -> GuardMark:
    """Let those call who show a secret, `"settings.NAME"`, in a header (`Authorization` unless another is given; `Bearer`
    may stand before it), or in the `query`."""
    if header and query:
        raise TypeError("token: give header= or query=, not both")
    if query:
        options = {"header": "", "query": _text("token", "query", query)}
    else:
        options = {"header": _header("token", "header", header or "Authorization"), "query": ""}
    return GuardMark("token", _secret(secret, "token"), tuple(options.items()))


def _names_setting(option: object) -> bool:
    """Return whether it names a setting, whose value is looked at when the plugin is loaded."""
    return isinstance(option, str) and option.startswith("settings.")


def _secret(secret: str, what: str) -> str:
    if not _names_setting(secret):
        raise TypeError(
            f'{what}: the secret is written "settings.NAME", so that it stands in bots.ini and not in the code'
        )
    return secret


def _header(what: str, key: str, given: str) -> str:
    if not isinstance(given, str) or not HEADER_NAME.fullmatch(given):
        raise TypeError(f"{what}: {key}={given!r:.80} is no header's name: write one such as X-Signature")
    return given


def _text(what: str, key: str, given: str) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{what}: {key}={given!r:.80} is no text")
    return given


def _tolerance(given: str | timedelta) -> float:
    try:
        tolerance_s = span(given)
    except ValueError as error:
        raise TypeError(f"signed: tolerance={given!r:.80} is no duration such as 5m ({error})") from None
    if tolerance_s <= 0:
        raise TypeError(f"signed: tolerance={given!r:.80} would let nobody in: write one such as 5m")
    return tolerance_s
