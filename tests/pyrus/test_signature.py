"""Who may deliver: HMAC-SHA1 over the raw bytes, and nothing a header holds can raise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.pyrus.signature import Verifier, sign

DELIVERIES = Path(__file__).parent.parent / "data" / "deliveries"
SIGNED = json.loads((DELIVERIES / "signatures.json").read_text("utf-8"))
KEY = SIGNED["security_key"].encode()
BODY = b'{"task_id": 5}'


def check(header: object, body: bytes = BODY, secrets: tuple[bytes, ...] = (KEY,)) -> int | None:
    """What a verifier says of a body that arrives in three chunks."""
    verification = Verifier(secrets).begin()
    for chunk in (body[:3], body[3:7], body[7:]):
        verification.feed(chunk)
    return verification.check(header)


@pytest.mark.parametrize("name", sorted(SIGNED["files"]))
def test_every_sample_delivery_bears_the_signature_made_for_it(name: str) -> None:
    body, expected = (DELIVERIES / name).read_bytes(), SIGNED["files"][name]["x_pyrus_sig"]
    assert sign(body, KEY) == sign(body, KEY.decode()) == expected
    assert check(expected, body) == 0
    assert check(expected, body + b"\n") is None


@pytest.mark.parametrize(
    "written",
    [str.upper, str.lower, str.swapcase, "sha1={}".format, "SHA1={}".format, "  {}\t".format, " sha1= {} ".format],
)
def test_a_signature_is_taken_in_any_case_with_prefix_and_blanks(written: object) -> None:
    header = written(sign(BODY, KEY))  # type: ignore[operator]
    assert check(header) == check(header.encode()) == 0


@pytest.mark.parametrize(
    "header", [None, "", b"", "sha1=", "0" * 40, "ы" * 40, b"\xff" * 40, "\udcff", 7, [], "sha1=sha1="]
)
def test_a_missing_or_odd_signature_is_refused(header: object) -> None:
    assert check(header) is None


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1], lambda s: s + "0", lambda s: s[1:] + s[0], lambda s: "sha1=sha1=" + s]
)
def test_a_signature_that_is_nearly_right_is_refused(change: object) -> None:
    assert check(change(sign(BODY, KEY))) is None  # type: ignore[operator]


def test_the_old_secret_is_told_from_the_current_one() -> None:
    secrets = (KEY, b"the secret before it")
    assert check(sign(BODY, KEY), secrets=secrets) == 0
    assert check(sign(BODY, secrets[1]), secrets=secrets) == 1
    assert check(sign(BODY, b"another bot's secret"), secrets=secrets) is None


def test_one_verifier_serves_interleaved_bodies() -> None:
    verifier = Verifier([KEY])
    first, second = verifier.begin(), verifier.begin()
    first.feed(b"one")
    second.feed(b"two")
    assert first.check(sign(b"one", KEY)) == 0
    assert second.check(sign(b"two", KEY)) == 0
    assert verifier.begin().check(sign(b"", KEY)) == 0


@pytest.mark.parametrize("secrets", [(), (b"",), (KEY, b""), (KEY, KEY, KEY)])
def test_no_bot_goes_without_a_secret(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="one secret"):
        Verifier(secrets)


@given(st.one_of(st.text(), st.binary(), st.none(), st.text("0123456789abcdefABCDEF=sh ", min_size=38, max_size=48)))
def test_no_header_whatever_raises(header: object) -> None:
    assert check(header) is None
