"""Sign and verify deliveries: HMAC-SHA1 over the raw body, as hex, keyed with the bot's secret.

Pyrus's recipes give upper-case hex; some deployments put `sha1=` before it. Both are taken, in any case.
"""

from __future__ import annotations

import hmac
from binascii import hexlify
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


SIGNATURE_HEADER = "X-Pyrus-Sig"
"""The header that carries the signature."""


def sign(body: bytes, secret: str | bytes) -> str:
    """Return the value Pyrus would put into the header: upper-case hex."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, body, "sha1").hexdigest().upper()


class Verifier:
    """One bot's keys, made ready once: the current secret first, the old one (during a change of key) second."""

    __slots__ = ("_keyed", "_keys")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """Raise ValueError unless there are one or two secrets, none of them empty."""
        keys = tuple(secrets)
        if not 1 <= len(keys) <= 2 or not all(keys):
            raise ValueError("a bot has one secret, or two during a change of key, and none of them is empty")
        self._keys = keys
        self._keyed = tuple(hmac.new(key, digestmod="sha1") for key in keys)

    def begin(self) -> Verification:
        """Return a verification of one body, to be fed as its chunks arrive."""
        return Verification(tuple(keyed.copy() for keyed in self._keyed))

    def check(self, body: bytes, header: object) -> int | None:
        """Verify a body that came in one piece, as `Verification.check` does."""
        given = _hex(header)
        right = None
        # each secret is compared, also after a match, so that the time tells nothing
        for index, key in enumerate(self._keys):
            if hmac.compare_digest(hexlify(hmac.digest(key, body, "sha1")), given) and right is None:
                right = index
        return right


class Verification:
    """The running digests of one body, one for each secret."""

    __slots__ = ("_digests",)

    def __init__(self, digests: tuple[hmac.HMAC, ...]) -> None:
        self._digests = digests

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, as they came."""
        for digest in self._digests:
            digest.update(chunk)

    def check(self, header: object) -> int | None:
        """Return the index of the secret that signed the body (0 current, 1 old), or None if none did.

        It never raises, whatever the header is: `str`, `bytes` or None.
        """
        given = _hex(header)
        # Each secret is compared, also after a match, so that the time tells nothing. Bytes are compared, because
        # compare_digest raises TypeError for a `str` that is not ASCII.
        right = [hmac.compare_digest(digest.hexdigest().encode(), given) for digest in self._digests]
        return right.index(True) if True in right else None


def _hex(header: object) -> bytes:
    if type(header) is not bytes:
        if not isinstance(header, str):
            return b""
        header = header.encode("latin-1", "replace")  # what is not hex stays wrong
    given = header.strip().lower()
    return given if given[4:5] != b"=" else given.removeprefix(b"sha1=").strip()
