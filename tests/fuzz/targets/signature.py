"""The verifier: any header gives the index of a secret or None, and the same as the plain reading of the rule."""

from __future__ import annotations

import hmac

from tests.fuzz.draw import Draw

from bothost.pyrus.signature import Verifier, sign

SECRETS = (b"correct horse battery staple", b"an older key that still counts")
_verifier = Verifier(SECRETS)


def check(data: bytes) -> None:
    """A body in chunks and a header, right or nearly right."""
    draw = Draw(data)
    header = _header(draw)
    verification = _verifier.begin()
    body = b""
    while chunk := draw.chunk():
        body += chunk
        verification.feed(chunk)
    given = header(body)
    got = verification.check(given)
    assert got == _expected(body, given), f"{given!r} over {body!r} gave {got}"


def seeds() -> list[bytes]:
    """One for each kind of header."""
    return [bytes([kind, 5]) + b"hello" for kind in range(10)]


def _header(draw: Draw):
    kind, part = draw.below(10), draw.chunk(60)
    text = part.decode("utf-8", "replace")
    return (
        lambda body: sign(body, SECRETS[0]),
        lambda body: sign(body, SECRETS[1]).lower(),
        lambda body: f" sha1={sign(body, SECRETS[0])}\t",
        lambda body: f"SHA1= {sign(body, SECRETS[1])}".encode(),
        lambda body: part,
        lambda body: text,
        lambda body: sign(body, SECRETS[0]) + text,
        lambda body: text + sign(body, SECRETS[0]),
        lambda body: None,
        lambda body: "sha1=" + part.hex(),
    )[kind]


def _expected(body: bytes, header: object) -> int | None:
    text = header.decode("latin-1") if isinstance(header, bytes) else header if isinstance(header, str) else ""
    given = text.strip(" \t\n\r\v\f").lower().removeprefix("sha1=").strip(" \t\n\r\v\f")
    for place, secret in enumerate(SECRETS):
        if given == hmac.new(secret, body, "sha1").hexdigest():
            return place
    return None
