"""env:, file: and literals; which secrets are refused."""

from pathlib import Path

import pytest

from bothost.config.secrets import SecretSources, SecretText, Unresolved, Unset, content_digest, fingerprint, is_sample


def test_env_gives_the_variables_whole_value(tmp_path: Path) -> None:
    sources = SecretSources(tmp_path, {"KEY": "a;b#c%d$e"})
    assert sources.resolve("env:KEY") == b"a;b#c%d$e"
    assert sources.env_names == {"KEY"}


def test_an_unset_variable_is_named_with_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(Unset, match=r"no variable REFUND_KEY \(did you mean 'REFUNDS_KEY'\?\)"):
        SecretSources(tmp_path, {"REFUNDS_KEY": "secret value"}).resolve("env:REFUND_KEY")


def test_a_file_loses_one_line_end_at_its_end_and_no_more(tmp_path: Path) -> None:
    for content, value in [
        (b"key\n", b"key"),
        (b"key\r\n", b"key"),
        (b"key\n\n", b"key\n"),
        (b" key ", b" key "),
        (b"\xff\n", b"\xff"),
    ]:
        (tmp_path / "key").write_bytes(content)
        assert SecretSources(tmp_path, {}).resolve("file:key") == value


def test_the_credentials_directory_comes_first_and_the_folder_of_the_ini_second(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "key").write_text("beside")
    sources = SecretSources(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert sources.resolve("file:key") == b"beside"
    (tmp_path / "credentials/key").write_text("credential")
    assert sources.resolve("file:key") == b"credential"
    assert sources.files == {tmp_path / "credentials/key", tmp_path / "key"}


@pytest.mark.parametrize("text", ["file:", "file:none", "file:.", "file:a\0b", "env:", "env:A B"])
def test_what_leads_nowhere_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unresolved):
        SecretSources(tmp_path, {}).resolve(text)


def test_a_file_too_large_for_a_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 70_000)
    with pytest.raises(Unresolved, match="larger than 64k"):
        SecretSources(tmp_path, {}).resolve("file:big")


def test_a_hidden_text_is_shown_as_its_fingerprint_only() -> None:
    hidden = SecretText("correct horse battery")
    assert repr(hidden) == f"<hidden {fingerprint(b'correct horse battery')}>"
    assert "correct" not in f"{hidden} {hidden!r}"
    assert hidden.matches("correct horse battery")
    assert not hidden.matches("correct horse battery\u0416")


@pytest.mark.parametrize(
    "secret",
    [
        "This-is-bot-secret-key-VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGsZVWBc8h8H0-xU9ux-dN37IjcAqf2pzeqoo5FqdtoH",
        "this-is-bot-secret-key",
        "your-secret-key-here",
        "YOUR_BOT_SECRET_KEY",
        "<put the key here>",
        "${AUTOREPLY_SECRET}",
        "changeme-changeme-changeme",
        "change-me-please-now",
    ],
)
def test_well_known_samples_are_known(secret: str) -> None:
    assert is_sample(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGs",
        "test-secret-0123456789",
        "a" * 16,
        "yourk9fW2mPq8sLx7RvB",
        "ключ-для-проверки-подписи",
    ],
)
def test_other_secrets_are_not_taken_for_samples(secret: str) -> None:
    assert not is_sample(secret)


def test_the_digest_follows_content_and_not_times(tmp_path: Path) -> None:
    key = tmp_path / "key"
    absent = content_digest(b"ini", [key])
    key.write_text("one")
    one = content_digest(b"ini", [key])
    key.write_text("one")
    assert content_digest(b"ini", [key]) == one
    key.write_text("two")
    assert (
        len({absent, one, content_digest(b"ini", [key]), content_digest(b"other", [key]), content_digest(None, [key])})
        == 5
    )
