"""The commands of a host with troubles, in a terminal that asks for Russian and in one that asks for nothing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.e2e.site import free_port
from tests.language.leaks import english_left

RUSSIAN = {"LANG": "ru_RU.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "LANGUAGE": ""}
PLAIN = {**RUSSIAN, "LANG": "C"}
TROUBLES = """[host]
port = {port}
operator_port = {page}
public_url = http://127.0.0.1:{port}
processes = 1
[bot:good]
plugin = autoreply
secret = a-secret-of-sixteen-or-more-1
[bot:twin]
plugin = autoreply
secret = a-secret-of-sixteen-or-more-1
path = /good
[bot:typo]
plugin = autoreplx
secret = a-secret-of-sixteen-or-more-3
[bot:short]
plugin = autoreply
secret = short
timeout = 5
concurrency = 0
greetin = 5
[bot:away]
plugin = autoreply
secret = env:NOT_THERE
enabled = maybe
[bot:lost]
plugin = watch
secret = a-secret-of-sixteen-or-more-5
[bot:off]
plugin = autoreply
secret = a-secret-of-sixteen-or-more-6
enabled = no
"""
INSTALLED = sorted((point.name for point in entry_points(group="bothost.plugins")), key=len, reverse=True)
WRITTEN = "autoreplx|good|twin|typo|short|away|lost|off|maybe|greetin|greeting|pid|path|timeout|enabled|form|concurrency|secret"
NAMES = "|".join((*map(re.escape, INSTALLED), WRITTEN))


@pytest.fixture
def troubled(bothost_command: str, tmp_path: Path) -> Iterator[None]:
    """A host that serves what of bots.ini can be served."""
    port = free_port()
    (tmp_path / "bots.ini").write_text(TROUBLES.format(port=port, page=free_port()))
    (tmp_path / "bots.ini").chmod(0o644)
    with (tmp_path / "log").open("wb") as log:
        host = subprocess.Popen([bothost_command, "serve"], cwd=tmp_path, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while "serves " not in (tmp_path / "log").read_text() and time.monotonic() < until:
            time.sleep(0.02)
        yield
    finally:
        host.terminate()
        host.wait(30)


@pytest.mark.full
@pytest.mark.usefixtures("troubled")
def test_a_host_in_trouble_is_told_in_russian_and_no_english_leaks(run: Run) -> None:
    first = run("send", "good", **RUSSIAN)
    assert re.match(r"200 за \d+ мс", first.stdout), first
    assert run("pause", "good", "--reason", "каникулы", **RUSSIAN).stdout == "good на паузе (процессов: 1): каникулы\n"
    for command, codes in {"check": [1], "bots": [1], "doctor": [1], "deliveries": [0], "hosts": [0]}.items():
        done = run(command, **RUSSIAN)
        assert done.returncode in codes, done
        told = re.sub(
            rf"\b(?:{NAMES}|[0-9a-f]{{8}})\b|{re.escape(socket.gethostname())}", "", done.stdout + done.stderr
        )
        assert len(re.findall("[а-яё]{3,}", told)) > 5, done
        assert english_left(told) == [], done.stdout + done.stderr
    plain = run("bots", **PLAIN)
    assert not re.search("[а-яё]", (plain.stdout + plain.stderr).replace("каникулы", "")), plain
    for command in ("bots", "doctor"):
        told = json.dumps(json.loads(run(command, "--json", **RUSSIAN).stdout), ensure_ascii=False)
        assert not re.search("[а-яё]", told.replace("каникулы", "")), told
        assert "config error" in told


def test_an_error_is_told_in_russian_if_the_terminal_can_show_it(run: Run) -> None:
    wanted = ("bots", "--config", "nowhere.ini")
    assert run(*wanted, **RUSSIAN).stderr == (
        "ошибка: nowhere.ini: не прочесть: такого файла нет; назовите другой файл в --config\n"
    )
    latin = run(*wanted, **RUSSIAN, PYTHONIOENCODING="latin-1")
    assert latin.stderr.startswith("error: nowhere.ini: cannot be read")
