"""bots.ini as a whole: values, defaults, rules, and every error at once."""

import os
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bothost import config
from bothost.config import BotConfig, Config, ConfigReading
from bothost.config.host import read_public_path
from bothost.errors import ConfigError

KEY = "VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGs"
OTHER = "H0xU9uxdN37IjcAqf2pzeqoo5FqdtoHX"
SAMPLE = "This-is-bot-secret-key-VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGsZVWBc8h8H0-xU9ux-dN37IjcAqf2pzeqoo5FqdtoH"

Load = Callable[..., Config]


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "bots.ini"


@pytest.fixture
def load(ini: Path) -> Load:
    def load(text: str, env: dict[str, str] | None = None, *, demo: bool = False) -> Config:
        ini.write_text(text, "utf-8")
        ini.chmod(0o600)
        return config.load(ini, env or {}, demo=demo)

    return load


def bot(load: Load, *lines: str, head: str = "") -> BotConfig:
    return load(f"{head}\n[bot:a]\nplugin = x\nsecret = {KEY}\n" + "\n".join(lines)).bots["a"]


def errors(load: Load, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, env)
    return [str(problem).partition("bots.ini:")[2] for problem in caught.value.problems]


def bot_error(load: Load, *lines: str) -> str:
    (error,) = errors(load, f"[bot:a]\nplugin = x\nsecret = {KEY}\n" + "\n".join(lines))
    return error


def host_error(load: Load, *lines: str, env: dict[str, str] | None = None) -> str:
    (error,) = errors(load, "[host]\n" + "\n".join(lines), env)
    return error


def test_an_empty_file_has_the_defaults_of_the_page(load: Load, ini: Path) -> None:
    host = load("").host
    assert (host.address, host.port, host.operator_address, host.operator_port) == (
        "127.0.0.1",
        8080,
        "127.0.0.1",
        8081,
    )
    assert (host.state, host.path) == (ini.parent / "state", ini)
    assert (host.drain_s, host.header_timeout_s, host.body_timeout_s, host.idle_timeout_s) == (50, 10, 60, 75)
    assert (host.processes, host.log, host.xheaders, host.journal, host.max_connections) == (1, "auto", False, "", None)
    assert (host.operator_token, host.operator_read_token, host.unix_socket, host.certfile) == (None, None, None, None)


def test_a_bot_has_the_defaults_of_the_page(load: Load) -> None:
    it = bot(load)
    assert (it.path, it.secrets, it.enabled, it.run, it.permits, it.order) == (
        "/a",
        (KEY.encode(),),
        True,
        "auto",
        8,
        "task",
    )
    assert (it.answer_within_s, it.late, it.timeout_s, it.on_error) == (50, "post", 900, "retry")
    assert (it.own_comments, it.forms, it.max_body_bytes, it.keep_s, it.memory_bytes) == (
        "skip",
        frozenset(),
        16 << 20,
        604800,
        0,
    )
    assert (it.login, it.api_url, it.error_text, it.error_choice, dict(it.settings)) == ("", "", "", "", {})


def test_each_key_of_a_bot_is_read(load: Load) -> None:
    it = bot(
        load, "path = /in/%D1%8F", f"old_secret = {OTHER}", "login = bot@1", "api_url = https://pyrus.corp/api/v4", "enabled = no",
        "run = process", "order = none", "answer_within = 500ms", "late = retry", "timeout = 2m", "on_error = reply",
        "error_text = Sorry,\n  later.", "error_choice = rejected", "own_comments = deliver", "forms = 1, 2\n  3", "max_body = 64k",
        "keep = 0", "memory = 256M", "greeting = Hi % there",
    )  # fmt: skip
    assert (it.path, it.secrets, it.login, it.api_url) == (
        "/in/я",
        (KEY.encode(), OTHER.encode()),
        "bot@1",
        "https://pyrus.corp/api/v4/",
    )
    assert (it.enabled, it.run, it.permits, it.order, it.answer_within_s, it.late) == (
        False,
        "process",
        1,
        "none",
        0.5,
        "retry",
    )
    assert (it.timeout_s, it.on_error, it.error_text, it.error_choice) == (120, "reply", "Sorry,\nlater.", "rejected")
    assert (it.own_comments, it.forms, it.max_body_bytes, it.keep_s, it.memory_bytes) == (
        "deliver",
        {1, 2, 3},
        65536,
        0,
        256 << 20,
    )
    assert dict(it.settings) == {"greeting": "Hi % there"}
    assert (it.line, it.lines["greeting"]) == (2, 25)


def test_each_key_of_the_host_is_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    host = load(
        "[host]\naddress = ::\nport = 0\nstate = /var/lib/bots\njournal = env:DSN\noperator_address = localhost\noperator_port = 0\n"
        "operator_token = file:token\noperator_read_token = env:READ\nprocesses = 4\nlog = json\ndrain = 5s\nxheaders = yes\n"
        "trusted_proxies = 10.0.0.5, 10.1.0.0/16\ncertfile = cert.pem\nkeyfile = cert.pem\nmax_connections = 500\n"
        "header_timeout = 1s\nbody_timeout = 2s\nidle_timeout = 3s\npublic_url = https://bots.example.com/\n"
        "operator_hosts = Ops.example.com ops2:8443\nmetrics_open = yes\non_failure = mail -s failed",
        {"DSN": "postgresql://u:p@h/d"}
        | {"READ": "read-" + KEY}
        | dict.fromkeys(["X"], "")
        | _file(tmp_path / "token", KEY),
    ).host
    assert (host.address, host.port, host.state, host.journal) == (
        "::",
        0,
        Path("/var/lib/bots"),
        "postgresql://u:p@h/d",
    )
    assert host.operator_token is not None
    assert host.operator_token.reveal() == KEY
    assert (host.processes, host.log, host.drain_s, host.xheaders) == (4, "json", 5, True)
    assert host.trusted_proxies == (ip_network("10.0.0.5"), ip_network("10.1.0.0/16"))
    assert (host.certfile, host.max_connections, host.public_url) == (
        tmp_path / "cert.pem",
        500,
        "https://bots.example.com",
    )
    assert (host.operator_hosts, host.metrics_open, host.on_failure) == (
        ("ops.example.com", "ops2:8443"),
        True,
        "mail -s failed",
    )


def _file(path: Path, text: str) -> dict[str, str]:
    path.write_text(text + "\n")
    return {}


def test_no_repr_shows_a_secret(load: Load) -> None:
    read = load(
        f"[host]\njournal = postgresql://u:{OTHER}@h/d\noperator_token = token-{OTHER}\n[bot:a]\nplugin = x\nsecret = {KEY}\napi_key = {OTHER}"
    )
    assert KEY not in repr(read)
    assert OTHER not in repr(read)
    assert read.bots["a"].fingerprint in repr(read)


def test_each_secret_of_a_bot_has_a_fingerprint_of_its_own(load: Load) -> None:
    bot = load(f"[bot:a]\nplugin = x\nsecret = {KEY}\nold_secret = {OTHER}").bots["a"]
    assert len(set(bot.fingerprints)) == 2
    assert bot.fingerprints[0] == bot.fingerprint


def test_defaults_of_the_section_bot_hold_unless_a_bot_says_otherwise(load: Load) -> None:
    read = load(
        f"[bot]\nplugin = p\nconcurrency = 3\nerror_text = sorry\n[bot:a]\nsecret = {KEY}\n[bot:b]\nsecret = {OTHER}\nconcurrency = 5\nerror_text ="
    )
    assert [(one.plugin, one.concurrency, one.error_text) for one in read.bots.values()] == [
        ("p", 3, "sorry"),
        ("p", 5, ""),
    ]


def test_every_error_is_told_at_once_with_file_line_section_and_key(load: Load) -> None:
    assert errors(
        load, "[host]\nprot = 1\n[bot:a]\nplugin = x\nsecret = short\ntimeout = 5\n[bot:b]\nrun = tread\n[but:c]\n"
    ) == [
        "2: [host] prot: no such key (did you mean 'port'?)",
        "5: [bot:a] secret: is shorter than 16 characters: copy the whole key from the bot's page in Pyrus",
        "6: [bot:a] timeout: '5' is not a duration: it needs a unit, as in 5s",
        "7: [bot:b] names no plugin: write plugin = and an entry point's name (`bothost plugins` lists them)",
        "7: [bot:b] has no secret: write secret = env:NAME, file:PATH or the bot's key from Pyrus",
        "8: [bot:b] run: 'tread' is none of auto, loop, thread, process (did you mean 'thread'?)",
        "9: [but:c] no such section (did you mean 'bot:c'?): there are [host], [bot], [bot:NAME] and [account:NAME]",
    ]


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(load: Load) -> None:
    assert errors(load, "[host]\nsecret = x\ntimeout = 1s\n[bot]\nport = 1\nsecret = x\ngreting = x") == [
        "2: [host] secret: belongs in [bot:NAME] or [bot]",
        "3: [host] timeout: belongs in [bot:NAME] or [bot]",
        "5: [bot] port: belongs in [host]; a plugin's settings stand in its bot's section",
        "6: [bot] secret: each bot has its own: it cannot be a default",
        "7: [bot] greting: no such key; a plugin's settings stand in its bot's section",
    ]


def test_an_unknown_key_of_a_bot_is_its_plugins_setting_unless_it_is_a_host_key_in_capitals(load: Load) -> None:
    assert dict(bot(load, "port = 5", "сумма = 7").settings) == {"port": "5", "сумма": "7"}
    assert "write secret" in bot_error(load, "Secret = x")


def test_a_missing_secret_or_plugin_hints_at_the_key_that_was_meant(load: Load) -> None:
    assert "(is secert in line 2 meant?)" in errors(load, "[bot:a]\nsecert = x\nplugin = x")[0]


@pytest.mark.parametrize(
    ("secret", "why"),
    [("", "is empty"), ("short", "shorter than 16"), (SAMPLE, "well-known sample"), ("env:UNSET", "no variable UNSET"), ("env:BLANK", "is empty"), ("env:SHORT", "shorter"), ("env:SAMPLE", "well-known sample"), ("file:none", "cannot read"), ("file:lines", "line break"), (f"{KEY}\n  more", "several lines")],
)  # fmt: skip
def test_a_secret_that_protects_nothing_is_refused(load: Load, tmp_path: Path, secret: str, why: str) -> None:
    (tmp_path / "lines").write_text(f"{KEY}\nanother line\n")
    env = {"BLANK": " ", "SHORT": "short", "SAMPLE": SAMPLE}
    for text in (
        f"[bot:a]\nplugin = x\nsecret = {secret}",
        f"[bot:a]\nplugin = x\nsecret = {KEY}\nold_secret = {secret or 'env:BLANK'}",
    ):
        (error,) = errors(load, text, env)
        assert why in error
        assert SAMPLE not in error


def test_only_the_demo_takes_sample_secrets_and_then_it_stays_on_loopback(load: Load) -> None:
    text = f"[host]\naddress = 0.0.0.0\noperator_address = 0.0.0.0\nunix_socket = s\n[bot:a]\nplugin = x\nsecret = {SAMPLE}"
    demo = load(text, {"PORT": "5000", "BOTHOST_ADDRESS": "0.0.0.0"}, demo=True)
    assert (demo.host.address, demo.host.port, demo.host.port_from_env, demo.host.unix_socket) == (
        "127.0.0.1",
        8080,
        False,
        None,
    )
    assert demo.host.operator_address == "127.0.0.1"
    assert demo.bots["a"].answer_within_s == 50
    with pytest.raises(ConfigError, match="shorter"):
        load("[bot:a]\nplugin = x\nsecret = short", demo=True)


def test_any_signs_may_stand_in_a_secret(load: Load) -> None:
    odd = "%(a)s $x #y ;z =% ключ-ключ"
    assert bot(load, f"old_secret = {odd}").secrets[1] == odd.encode()


def test_two_bots_with_one_secret_earn_a_warning(load: Load) -> None:
    read = load(f"[bot:a]\nplugin = x\nsecret = {KEY}\n[bot:b]\nplugin = x\nsecret = {OTHER}\nold_secret = {KEY}")
    (warning,) = read.warnings
    assert "[bot:b] secret: is the secret of [bot:a] too" in str(warning)
    assert KEY not in str(warning)


def test_a_hundred_bots_with_one_secret_are_told_in_three_lines(load: Load) -> None:
    read = load("\n".join(f"[bot:b{number}]\nplugin = x\nsecret = {KEY}" for number in range(100)))
    assert len(read.warnings) == 3
    assert "too, as it is of 96 more:" in str(read.warnings[0])


def test_literal_secrets_that_others_can_read_earn_a_warning(load: Load, ini: Path) -> None:
    load(f"[bot:a]\nplugin = x\nsecret = {KEY}")
    ini.chmod(0o644)
    (warning,) = config.load(ini, {}).warnings
    assert "chmod 600" in str(warning)
    ini.write_text("[bot:a]\nplugin = x\nsecret = env:KEY")
    assert not config.load(ini, {"KEY": KEY}).warnings


def test_what_looks_like_a_remark_in_a_literal_secret_earns_a_warning(load: Load) -> None:
    (warning,) = load(f"[bot:a]\nplugin = x\nsecret = {KEY} ; old").warnings
    assert "remark" in str(warning)


def test_port_from_the_environment_opens_the_listener_to_a_platforms_router(load: Load) -> None:
    text = f"[host]\nport = 9\nunix_socket = s\n[bot:a]\nplugin = x\nsecret = {KEY}\n[bot:b]\nplugin = x\nsecret = {OTHER}\nanswer_within = 40s"
    read = load(text, {"PORT": "5000"})
    assert (read.host.address, read.host.port, read.host.port_from_env, read.host.unix_socket) == (
        "0.0.0.0",
        5000,
        True,
        None,
    )
    assert read.host.operator_address == "127.0.0.1"
    assert [one.answer_within_s for one in read.bots.values()] == [25, 40]


def test_addresses_go_environment_before_file_before_default(load: Load) -> None:
    assert load("[host]\naddress = 10.0.0.1", {"PORT": "5000"}).host.address == "10.0.0.1"
    assert (
        load("[host]\naddress = 10.0.0.1", {"PORT": "5000", "BOTHOST_ADDRESS": "10.0.0.2"}).host.address == "10.0.0.2"
    )
    assert load("", {"BOTHOST_ADDRESS": "::1"}).host.address == "::1"
    assert load("", {"PORT": ""}).host.port == 8080
    with pytest.raises(ConfigError, match="the environment's PORT: 'abc' is not a whole number"):
        load("", {"PORT": "abc"})


@pytest.mark.parametrize(
    ("path", "why"),
    [("a", "begin with a slash"), ("/", "host's own"), ("/healthz", "host's own"), ("/healthz/", "host's own"), ("/a//b", "//"), ("/a/../b", "//"), ("/./a", "//"), ("/%2e%2e/a", "//"), ("/a%00", "control"), ("/a%0ab", "control"), ("/a?b", "%3F"), ("/a#b", "%23"), ("/a%zz", "%25"), ("/%ff", "UTF-8"), ("/%2F", "//")],
)  # fmt: skip
def test_a_path_that_routers_would_rewrite_or_the_host_needs_is_refused(load: Load, path: str, why: str) -> None:
    assert why in bot_error(load, f"path = {path}")


def test_a_path_is_decoded_once_and_loses_its_last_slash(load: Load) -> None:
    assert bot(load, "path = /a%2520b/").path == "/a%20b"


@pytest.mark.parametrize("path", ["a", "//a", "/a/../b", "/.", "/a/./", "/a b", "/a%20b", '/"'])
def test_a_path_of_the_page_that_no_browser_would_keep_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path: write /bothost"):
        read_public_path(path)
    assert [read_public_path(good) for good in ("/", "/a/", "/a/..b/c.")] == ["", "/a", "/a/..b/c."]


@pytest.mark.parametrize("path", ["/a", "/a/", "/%61"])
def test_a_path_that_another_bot_has_is_refused(load: Load, path: str) -> None:
    text = f"[bot:a]\nplugin = x\nsecret = {KEY}\n[bot:b]\nplugin = x\nsecret = {OTHER}\npath = {path}"
    assert errors(load, text) == ["7: [bot:b] path: /a is the path of [bot:a], line 1 already"]


@pytest.mark.parametrize("name", ["A", "", "-a", "a b", "a.b", "ж", "a" * 65, "a:b", " a"])
def test_a_name_that_cannot_stand_in_keys_files_and_urls_is_refused(load: Load, name: str) -> None:
    assert "not a bot's name" in errors(load, f"[bot:{name}]\nplugin = x\nsecret = {KEY}\npath = /a")[0]


@pytest.mark.parametrize(
    "url", ["http://pyrus.com/api/v4/", "https://u@h/", "https://u:p@pyrus.com/", "ftp://h/", "pyrus.com", "https:///x", "https://h/?a", "https://h/#a", "https://h:99999/", "https://h:x/", "https://h\\@evil/", "https://[::1/", "http://127.0.0.1.evil.com/"]
)  # fmt: skip
def test_an_api_url_that_could_give_the_key_away_is_refused(load: Load, url: str) -> None:
    bot_error(load, f"api_url = {url}")


@pytest.mark.parametrize(
    "url", ["https://pyrus.corp:8443/api/v4/", "http://127.0.0.1:5001/v4/", "http://localhost/", "http://[::1]:80/"]
)
def test_https_and_loopback_are_good_api_urls(load: Load, url: str) -> None:
    assert bot(load, f"api_url = {url}").api_url == url


@pytest.mark.parametrize(
    "line",
    ["concurrency = 0", "concurrency = many", "enabled = maybe", "order = tasks", "late = never", "on_error = replay", "error_choice = ok", "own_comments = no", "forms = a", "max_body = 1", "max_body = 1G", "keep = forever", "memory = 1k", "timeout = 0", "answer_within = 0s", "login = me", "plugin = a b", "concurrency =", "on_error = reply", "concurrency = 8 ; eight"],
)  # fmt: skip
def test_a_wrong_value_is_one_error(load: Load, line: str) -> None:
    key = line.split(" ", maxsplit=1)[0]
    text = f"[bot:a]\nsecret = {KEY}\n{'' if key == 'plugin' else 'plugin = x'}\n{line}\n"
    (error,) = errors(load, text)
    assert error.startswith(f"4: [bot:a] {key}: ")


@pytest.mark.parametrize(
    "lines",
    ["port = 70000", "port = 8081", "operator_port = 8080", "address = 127.0.0.1:8080", "address = 300.1.1.1", "processes = 0", "log = loud", "drain = 50", "xheaders = ja", "xheaders = yes\naddress = 0.0.0.0", "certfile = none.pem\nkeyfile = bots.ini", "certfile = bots.ini", f"certfile = {'a' * 400}\nkeyfile = bots.ini", "max_connections = none", "idle_timeout = 0", "trusted_proxies = a", "public_url = bots.example.com", "operator_hosts = http://a", "journal = mysql://x", "journal = env:UNSET", "operator_address = 0.0.0.0", "operator_address = 0.0.0.0\noperator_token = short", "operator_token = file:none", f"operator_token = {KEY}\noperator_read_token = {KEY}", f"unix_socket = {'x' * 120}", "state ="],
)  # fmt: skip
def test_a_wrong_value_of_the_host_is_one_error(load: Load, lines: str) -> None:
    assert "[host]" in host_error(load, lines)


def test_an_operator_token_whose_variable_is_unset_is_made_later(load: Load) -> None:
    assert load("[host]\noperator_token = env:BOTHOST_OPERATOR_TOKEN").host.operator_token is None


def test_the_operator_token_comes_from_its_variable_where_no_line_says_otherwise(load: Load) -> None:
    env = {"BOTHOST_OPERATOR_TOKEN": KEY}
    host = load("[host]", env=env).host
    assert host.operator_token is not None
    assert host.operator_token.matches(KEY)
    assert load(f"[host]\noperator_token = {KEY[::-1]}", env=env).host.operator_token.matches(KEY[::-1])
    assert load("[host]\noperator_token =", env=env).host.operator_token is None


def test_a_short_operator_token_on_loopback_is_a_warning(load: Load) -> None:
    assert "shorter than 16" in str(load("[host]\noperator_token = short").warnings[0])


def test_a_value_with_a_line_too_many_is_told_why(load: Load) -> None:
    assert bot_error(load, "timeout = 5s", "  concurrency = 4") == (
        "4: [bot:a] timeout: has several lines: a line that begins with a blank continues the value before it"
    )
    assert "has several lines" in host_error(load, "operator_token = one", " two")


def test_what_works_and_helps_nobody_is_a_warning(load: Load) -> None:
    read = load(f"[bot:a]\nplugin = x\nsecret = {KEY}\nold_secret = {KEY}\nmemory = 64M\nanswer_within = 70s")
    assert [str(warning).partition("bots.ini:")[2] for warning in read.warnings] == [
        "5: [bot:a] memory: has no effect without run = process",
        "6: [bot:a] answer_within: Pyrus waits 60 s for an answer: what comes later is lost",
    ]
    assert read.bots["a"].secrets == (KEY.encode(),)


def test_an_empty_token_is_no_token_and_a_path_has_no_nul(load: Load) -> None:
    assert load("[host]\noperator_token =\njournal =").host.operator_token is None
    problems = errors(load, "[host]\ncertfile = a\0b")
    assert any("NUL" in problem for problem in problems)


def test_a_file_too_large_for_a_bots_ini_is_refused(ini: Path) -> None:
    with ini.open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert "larger than 64M" in str(config.read(ini, {}).problems[0])


def test_hidden_values_are_in_no_error(load: Load) -> None:
    text = "\n".join(
        errors(
            load,
            f"[host]\njournal = mysql://u:{KEY}@h\noperator_address = 0.0.0.0\noperator_token = sh0rt-t0ken\n[bot:a]\nplugin = x\nsecret = sh0rt",
        )
    )
    assert KEY not in text
    assert "sh0rt" not in text


def test_the_good_sections_of_a_bad_file_can_be_served(ini: Path) -> None:
    ini.write_text(
        f"[host]\nport = x\n[bot:a]\nplugin = x\nsecret = {KEY}\n[bot:b]\nplugin = x\npath = /here\nsecret = short"
    )
    reading = config.read(ini, {})
    assert reading.host is None
    assert list(reading.bots) == ["a"]
    assert list(reading.broken) == list(reading.stubs) == ["b"]
    assert (reading.stubs["b"].path, reading.stubs["b"].secrets) == ("/here", ())
    assert [problem.key for problem in reading.problems] == ["port"]
    assert (reading.sections, reading.found) == (3, True)


def test_a_file_that_is_not_there_is_an_error_and_not_an_exception(ini: Path) -> None:
    reading = config.read(ini, {})
    assert not reading.found
    assert "cannot be read: No such file" in str(reading.problems[0])
    with pytest.raises(ConfigError):
        config.load(ini, {})


def test_the_digest_follows_the_file_and_every_file_it_names(ini: Path, tmp_path: Path) -> None:
    ini.write_text("[bot:a]\nplugin = x\nsecret = file:key\napi_key = file:other")
    seen = []
    for content in (None, KEY, OTHER):
        if content:
            (tmp_path / "key").write_text(content)
        reading = config.read(ini, {})
        assert config.digest(ini, reading.files) == reading.digest
        seen.append(reading.digest)
    (tmp_path / "other").write_text("x")
    seen.append(config.digest(ini, reading.files))
    os.utime(ini, (1, 1))
    assert config.digest(ini, reading.files) == seen[-1]
    ini.unlink()
    seen.append(config.digest(ini, reading.files))
    assert len(set(seen)) == 5


def test_every_bot_knows_the_variables_that_the_file_names(load: Load) -> None:
    read = load(
        f"[host]\noperator_token = env:TOKEN\n[bot:a]\nplugin = x\nsecret = env:A\n[bot:b]\nplugin = x\nsecret = {OTHER}\nkey = env:B",
        {"A": KEY},
    )
    assert read.bots["a"].env_names == read.bots["b"].env_names == {"TOKEN", "A", "B"}


@pytest.mark.parametrize(
    ("lines", "permits", "together"),
    [
        ("", 8, 0),
        ("run = process", 1, 0),
        ("concurrency = 4", 4, 4),
        ("run = process\nconcurrency = 4", 4, 4),
        ("concurrency_each = 3", 3, 0),
        ("concurrency = 4\nconcurrency_each = 3", 3, 4),
    ],
)
def test_concurrency_bounds_all_processes_together_and_concurrency_each_every_one(
    load: Load, lines: str, permits: int, together: int
) -> None:
    it = bot(load, *lines.splitlines())
    assert (it.permits, it.concurrency) == (permits, together)


def test_more_for_each_process_than_for_all_is_warned_of(ini: Path) -> None:
    ini.write_text(f"[bot:a]\nplugin = p\nsecret = {KEY}\nconcurrency = 4\nconcurrency_each = 5\n")
    told = [str(one) for one in config.read(ini, {}).warnings if one.key == "concurrency_each"]
    assert told == [
        f"{ini}:5: [bot:a] concurrency_each: has no effect: concurrency = 4 is less, in all processes together"
    ]


def test_what_differs_between_two_loads_is_named(load: Load) -> None:
    one, two = bot(load, "greeting = a"), bot(load, "", "timeout = 1s", "greeting = a")
    assert one.differs(one) == ()
    assert one.differs(two) == ("timeout_s",)


def test_ten_thousand_bots_are_read_in_well_under_two_seconds(ini: Path) -> None:
    ini.write_text(
        "".join(
            f"[bot:b{n}]\nplugin = autoreply\npath = /in/{n}\nsecret = {KEY}{n}\nconcurrency = 3\ngreeting = Hello {n}\n"
            for n in range(10_000)
        )
    )
    began = time.process_time()
    assert len(config.load(ini, {}).bots) == 10_000
    assert time.process_time() - began < 2


FIRST_KEYS = """accounts answer_within api_url catch_up catch_up_for concurrency concurrency_each enabled error_choice error_text forms
keep late login max_body memory old_secret on_error order overlap own_comments path per_host plugin poll_every receive run secret
timeout"""
"""The keys of the first release without a point. Nothing was released with fewer, so no plugin in the field has one of them."""


def test_a_plugin_keeps_its_settings_whatever_keys_the_host_gets_later() -> None:
    assert {key for key in config.HOST_BOT_KEYS if "." not in key} <= set(FIRST_KEYS.split()), (
        "plugins in the field may have a setting of this name; a new key has a point in it, which no setting has"
    )


KEYS = sorted(config.HOST_BOT_KEYS | config.HOST_KEYS)
LINES = st.one_of(
    st.sampled_from(["[host]", "[bot]", "[bot:a]", "[bot:b]", "[x]", "[bot:"]),
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.text(max_size=20)),
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(["1", "5s", "yes", "auto", "env:X", "file:.", "/a", KEY, "https://h/", "::1"])),
    st.text(max_size=30),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINES, max_size=25), st.booleans())
def test_whatever_is_written_only_a_config_or_a_config_error_comes_out(ini: Path, lines: list[str], demo: bool) -> None:
    ini.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    reading = config.read(ini, {"X": "x"}, demo=demo)
    assert isinstance(reading, ConfigReading)
    try:
        assert set(config.load(ini, {"X": "x"}, demo=demo).bots) == set(reading.bots)
    except ConfigError as error:
        assert error.problems == reading.all_problems()  # noqa: PT017 - either is right, and must agree


def test_the_page_speaks_tls_beyond_loopback_where_there_is_a_certificate(load: Load, tmp_path: Path) -> None:
    certificate = tmp_path / "host.pem"
    certificate.write_text("a certificate, which only the listener reads")
    beyond = f"operator_address = 0.0.0.0\noperator_token = {KEY}"
    tls = f"certfile = {certificate}\nkeyfile = {certificate}"
    keys = {"": False, beyond: False, tls: False, f"{tls}\n{beyond}": True}
    told = {those: config.page_by_tls(load(f"[host]\n{those}\n").host) for those in keys}
    assert told == keys


def test_a_bots_ini_that_everybody_may_write_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "bots.ini").write_text(f"[bot:a]\nplugin = x\nsecret = {KEY}\n")
    (tmp_path / "bots.ini").chmod(0o666)
    reading = config.read(tmp_path / "bots.ini", {})
    assert not reading.found
    assert not reading.bots
    assert "chmod o-w" in str(reading.problems[0])


def test_a_folder_in_which_everybody_may_replace_bots_ini_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "bots.ini").write_text("[host]\n")
    (tmp_path / "bots.ini").chmod(0o600)
    tmp_path.chmod(0o777)
    assert "put another file in its place" in str(config.read(tmp_path / "bots.ini", {}).warnings[0])
    tmp_path.chmod(0o1777)
    assert not config.read(tmp_path / "bots.ini", {}).warnings
