"""Define the guards of hooks as authors write them: `signed`, `token` and `anyone`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bothost.config.units import seconds

Digest = Literal["sha256", "sha1", "sha512"]
Encoding = Literal["hex", "base64"]
DIGESTS = ("sha256", "sha1", "sha512")
ENCODINGS = ("hex", "base64")


@dataclass(frozen=True, slots=True)
class GuardMark:
    """A guard as the author wrote it: its secret is a setting's name that is read when the plugin is loaded."""

    kind: Literal["signed", "token", "anyone"]
    secret: str = ""
    options: tuple[tuple[str, Any], ...] = ()


anyone = GuardMark("anyone")
"""Lets everybody call a hook; `check` and `doctor` warn of it once."""


def signed(  # noqa: PLR0913 - the author's API names each
    secret: str,
    *,
    header: str,
    digest: Digest | str = "sha256",
    encoding: Encoding | str = "hex",
    prefix: str = "",
    timestamp: str | None = None,
    tolerance: str = "5m",
) -> GuardMark:
    """Let those call whose `header` holds the HMAC of the raw body by a secret, `"settings.NAME"`.

    `prefix` stands before it ("sha256="). `timestamp` names a header with seconds since 1970, not older or newer than
    `tolerance`, whose value and a point are signed before the body. Each but `tolerance` may be a setting, `"settings.NAME"`,
    so that the operator says how a service signs.
    """
    if not all(one in (*known, *_named(one)) for one, known in ((digest, DIGESTS), (encoding, ENCODINGS))):
        raise TypeError(f"signed: digest is one of {', '.join(DIGESTS)}, encoding hex or base64")
    options = {"header": header, "digest": digest, "encoding": encoding, "prefix": prefix, "timestamp": timestamp or ""}
    return GuardMark("signed", _setting_name(secret, "signed"), (*options.items(), ("tolerance_s", seconds(tolerance))))


def token(secret: str, *, header: str = "", query: str = "") -> GuardMark:
    """Let those call who show a secret, `"settings.NAME"`, in a header (`Authorization` unless another is given; `Bearer`
    may stand before it), or in the `query`."""
    if header and query:
        raise TypeError("token: give header= or query=, not both")
    name = header or ("" if query else "Authorization")
    return GuardMark("token", _setting_name(secret, "token"), (("header", name), ("query", query)))


def _named(option: str) -> tuple[str, ...]:
    """Return the option itself if it names a setting, whose value is looked at when the plugin is loaded."""
    return (option,) if option.startswith("settings.") else ()


def _setting_name(secret: object, what: str) -> str:
    if not isinstance(secret, str) or not secret.startswith("settings."):
        raise TypeError(
            f'{what}: the secret is written "settings.NAME", so that it stands in bots.ini and not in the code'
        )
    return secret
