"""`bothost check`, `bots`, `plugins` on the installed package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cli.conftest import Run

from bothost.cli.check import check

SECRET = "a-secret-of-sixteen-or-more"
WRONG = f"""[host]
prot = 5
[bot:a]
plugin = autoreplx
secret = {SECRET}a
[bot:b]
plugin = autoreply
secret = short
greetin = 5
[bot:c]
plugin = autoreply
secret = {SECRET}c
"""


def write(folder: Path, text: str) -> None:
    file = folder / "bots.ini"
    file.write_text(text)
    file.chmod(0o600)


def test_check_reports_every_error_at_once_with_file_line_section_and_key(run: Run, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    done = run("check")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in lines] == ["bots.ini:2", "bots.ini:4", "bots.ini:8", "bots.ini:9"]
    assert "[host] prot: no such key (did you mean 'port'?)" in lines[0]
    assert "[bot:a] plugin: asks for the plugin 'autoreplx'" in lines[1]
    assert "did you mean 'autoreply'?" in lines[1]
    assert "[bot:b] greetin" in lines[3]


def test_check_of_a_good_file_is_exit_code_0(run: Run, tmp_path: Path) -> None:
    write(tmp_path, f"[bot:a]\nplugin = autoreply\nsecret = {SECRET}\nlogin = bot@example.com\n")
    done = run("check")
    assert done.returncode == 0
    assert "1 bot, all well" in done.stdout
    assert json.loads(run("check", "--json").stdout) == {"ok": True, "bots": 1, "problems": [], "warnings": []}


def test_check_warns_in_one_line_of_bots_without_a_login(run: Run, tmp_path: Path) -> None:
    sections = "".join(f"[bot:{name}]\nplugin = autoreply\nsecret = {SECRET}-{name}\n" for name in "ab")
    write(tmp_path, f"{sections}[bot:c]\nplugin = autoreply\nsecret = {SECRET}-c\nlogin = bot@example.com\n")
    done = run("check")
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert "no login = bot@… in a, b: unless deliveries show it" in warning


@pytest.mark.parametrize(("processes", "bots", "named"), [(2, "ab", "a, b"), (3, "a", "a"), (1, "ab", "")])
def test_check_says_what_one_process_for_a_bot_costs(tmp_path: Path, processes: int, bots: str, named: str) -> None:
    sections = "".join(
        f"[bot:{name}]\nplugin = autoreply\nper_host = {'one' if name in bots else 'all'}\nsecret = {SECRET}-{name}\n"
        for name in "abc"
    )
    write(tmp_path, f"[host]\nprocesses = {processes}\n{sections}[bot:d]\nenabled = no\nper_host = one\n")
    done = CliRunner().invoke(check, ["--config", str(tmp_path / "bots.ini")])
    told = [line for line in done.stderr.splitlines() if "per_host" in line]
    if named:
        (warning,) = told
        assert f"per_host = one in {named}: one of the {processes} processes does all the work of each" in warning
        assert "when it dies events wait until another has opened the plugin" in warning
    else:
        assert told == []


def test_check_under_json_gives_each_problem_its_place(run: Run, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    told = json.loads(run("check", "--json").stdout)
    assert not told["ok"]
    assert told["problems"][0] == {
        "file": "bots.ini",
        "line": 2,
        "section": "host",
        "key": "prot",
        "text": "no such key (did you mean 'port'?)",
    }


def test_check_and_doctor_warn_of_a_hook_for_failures_that_is_nowhere(run: Run, tmp_path: Path) -> None:
    write(
        tmp_path,
        f"[host]\non_failure = pagr --now\n[bot:a]\nplugin = autoreply\nsecret = {SECRET}\nlogin = bot@example.com\n",
    )
    done = run("check")
    assert done.returncode == 0
    said = "[host] on_failure: pagr --now is neither an entry point of group bothost.on_failure nor a command that can be run"
    assert done.stderr.splitlines() == [f"warning: bots.ini: {said}"]
    assert "1 bot, all well, 1 warning" in done.stdout
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    assert next(each for each in checks if each["check"] == "configuration")["state"] == "warning"


def test_check_writes_nothing(run: Run, tmp_path: Path) -> None:
    write(tmp_path, f"[bot:a]\nplugin = autoreply\nsecret = {SECRET}\n")
    for command in ("check", "bots", "plugins"):
        run(command)
    assert [path.name for path in tmp_path.iterdir()] == ["bots.ini"]


def test_bots_shows_state_plugin_version_path_and_fingerprint(run: Run, tmp_path: Path) -> None:
    write(tmp_path, WRONG.replace("prot = 5", ""))
    done = run("bots", "--json")
    assert done.returncode == 1
    rows = {row["bot"]: row for row in json.loads(done.stdout)}
    assert [row["state"] for row in rows.values()] == ["plugin error", "config error", "ok"]
    assert rows["c"]["version"]
    assert rows["c"]["path"] == "/c"
    assert len(rows["c"]["secret"]) == 8
    assert rows["b"]["reason"].startswith("secret: is shorter than 16")
    table = run("bots").stdout
    assert rows["c"]["secret"] in table
    assert SECRET not in table


def test_of_many_bots_those_in_trouble_come_first_and_the_last_line_counts_them(run: Run, tmp_path: Path) -> None:
    sections = [f"[bot:b{n}]\nplugin = autoreply\nsecret = a-secret-of-sixteen-{n}\n" for n in range(30)]
    write(
        tmp_path,
        "".join(sections).replace(
            "plugin = autoreply\nsecret = a-secret-of-sixteen-17", "plugin = x\nsecret = a-secret-of-sixteen-17"
        ),
    )
    lines = run("bots").stdout.splitlines()
    assert lines[3].split()[0] == "b17"
    assert lines[-1] == "bots.ini: 30 bots: 29 ok, 1 plugin error"
    assert "and 10 more" in run("send", "nobody").stderr


def test_a_file_without_bots_says_what_to_add(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "[host]\n")
    done = run("bots")
    assert done.returncode == 0
    assert "[bot:NAME]" in done.stdout


def test_plugins_shows_what_is_installed(run: Run) -> None:
    rows = {row["plugin"]: row for row in json.loads(run("plugins", "--json").stdout)}
    assert rows["autoreply"]["distribution"] == "bothost-autoreply"
    assert rows["autoreply"]["object"].startswith("autoreply:")
    assert "autoreply" in run("plugins").stdout


def offer(folder: Path, distribution: str, name: str, target: str) -> None:
    """An installed distribution, as far as entry points go."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bothost.plugins]\n{name} = {target}\n")


def test_a_broken_plugin_is_named_with_its_reason_and_hides_no_other(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    offer(site, "broken-bot", "broken", "broken_bot:main")
    (site / "broken_bot.py").write_text("import sys\nsys.exit('no licence')\n")
    offer(site, "rival", "autoreply", "rival:main")
    done = run("plugins", "--json", PYTHONPATH=str(site))
    assert done.returncode == 1
    rows = {row["plugin"]: row for row in json.loads(done.stdout)}
    assert "no licence" in rows["broken"]["problem"]
    assert "rival" in rows["autoreply"]["problem"]
    assert "bothost-autoreply" in rows["autoreply"]["problem"]
