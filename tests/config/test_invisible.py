"""What nobody can see in a secret is an error that says where, and quotes nothing of it."""

from pathlib import Path

import pytest

from bothost.config.dsn import dsn_problem
from bothost.config.invisible import invisible, may_be_shown
from bothost.config.secrets import SecretSources, Unresolved
from bothost.config.section import refusal
from bothost.plugins.settings import Secret
from bothost.plugins.settings.reading import read

KEY = "K3y-for-trials-0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (f"{KEY} ", "a blank (U+0020) as character 32 of 32"),
        (f"\u00a0{KEY}", "no-break space (U+00A0) as character 1 of 32"),
        (f"{KEY[:4]}\u200b{KEY[4:]}", "zero width space (U+200B) as character 5 of 32"),
        (f"{KEY}\n", "a line break (U+000A)"),
        (f"{KEY}\t", "a tab (U+0009)"),
        (f"{KEY[:9]}\ufeff{KEY[9:]}", "a byte order mark (U+FEFF) as character 10"),
        (f"{KEY}\u3164", "hangul filler (U+3164)"),
        (f"{KEY}\ufe0f", "variation selector-16 (U+FE0F)"),
        (f"{KEY}\u202e", "right-to-left override"),
        (f"{KEY}\u00ad", "soft hyphen"),
        (f"{KEY}\x00", "a control character (U+0000)"),
        (f"{KEY}\U000e0041", "U+E0041"),
        (f'"{KEY}"', "stands in quotes"),
        (f"\u201c{KEY}\u201d", "stands in quotes"),
    ],
)
def test_a_character_that_nobody_sees_is_named_with_its_position(value: str, said: str) -> None:
    why = refusal(value.encode(), demo=False)
    assert said in why
    assert KEY[:8] not in why


def test_other_encodings_are_named() -> None:
    assert invisible(KEY.encode("utf-16")) == "is saved as UTF-16: save it as UTF-8"
    assert invisible(b"caf\xe9-and-more-text") == "is not UTF-8 at byte 4 of 18"


@pytest.mark.parametrize("value", [KEY, "correct horse battery staple", "a;b#c%d$e", "\u043a\u043b\u044e\u0447"])
def test_what_can_be_seen_is_no_fault(value: str) -> None:
    assert invisible(value.encode()) == ""


def test_editors_byte_order_mark_and_one_line_end_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")
    sources = SecretSources(tmp_path, {"KEY": f"\ufeff{KEY}\n"})
    assert sources.resolve("file:key") == sources.resolve("env:KEY") == KEY.encode()


def test_a_plugins_secret_may_have_lines_but_nothing_unseen(tmp_path: Path) -> None:
    pem = "-----BEGIN KEY-----\nabc\tdef\n-----END KEY-----\n"
    sources = SecretSources(tmp_path, {"PEM": pem, "BLANK": f"{KEY}\u200b"})
    assert read("env:PEM", Secret, sources).reveal() == pem.removesuffix("\n")
    with pytest.raises(ValueError, match="zero width space"):
        read("env:BLANK", Secret, sources)


@pytest.mark.parametrize("mistake", [f"env:{KEY}", f"file:{KEY}", "env:3f9aBc81d0e77a4b", "file:aB3/+x9Qz0Lk2mN4v"])
def test_a_secret_behind_env_or_file_by_mistake_is_not_shown(tmp_path: Path, mistake: str) -> None:
    with pytest.raises(Unresolved) as caught:
        SecretSources(tmp_path, {}).resolve(mistake)
    assert mistake.partition(":")[2] not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["REFUNDS_SECRET", "refunds_secret_2", "KEY", "/run/secrets/refunds-key", "keys/BotKey.txt"]
)
def test_names_are_shown(name: str) -> None:
    assert may_be_shown(name)


def test_a_secrets_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o646)
    with pytest.raises(Unresolved, match="chmod o-w"):
        SecretSources(tmp_path, {}).resolve("file:key")


PASSWORD = "Sup3rSecretPart"


@pytest.mark.parametrize(
    "password", [f"{PASSWORD}/rest", f"{PASSWORD}?rest", f"{PASSWORD}#rest", f"{PASSWORD}%rest", f"{PASSWORD}[rest", f"{PASSWORD} rest", f"{PASSWORD}/a@b", f"{PASSWORD}#"]
)  # fmt: skip
def test_a_password_that_needs_escaping_is_an_error_that_shows_none_of_it(password: str) -> None:
    why = dsn_problem(f"postgresql://bot:{password}@127.0.0.1:5432/bots")
    assert why
    assert "rest" not in why
    assert PASSWORD not in why


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://bot:pass%2Fword@127.0.0.1:5432/bots",
        "postgres://bot@db/bots?sslmode=require&application_name=bots",
        "postgresql://a:b@one:5432,two:5433/bots?target_session_attrs=read-write",
        "postgresql:///bots?host=/run/postgresql&user=me@corp",
        "postgresql://bot:p@ss@[::1]:5432/bots",
        "postgresql://bot:a:b@db/bots",
    ],
)
def test_good_addresses_are_taken(text: str) -> None:
    assert dsn_problem(text) == ""
