"""The fixture in real runs of pytest: alone, in async tests, and beside the plugins that bring loops of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = """
import sys
before = set(sys.modules)
import bothost.testing.pytest_plugin
print(*sorted(name for name in set(sys.modules) - before if name.split(".")[0] in ("tornado", "msgspec", "bothost")))
"""

ONE_TEST = """
from bothost import Event
from bothost.testing import Harness, task

def greet(event: Event) -> str:
    return "Hello"

def test_ids_begin_anew() -> None:
    assert task()["id"] == 310001

def test_it_answers(bothost: Harness) -> None:
    made = task()
    assert made["id"] == 310001
    assert bothost.bot(greet).deliver(made).json == {"text": "Hello"}
"""

FAILING = """
import asyncio
from bothost import Event
from bothost.testing import Harness, task

async def forgetful(event: Event) -> None:
    event.pyrus.task(event.task_id)

def test_a_forgotten_await(bothost: Harness) -> None:
    bothost.bot(forgetful).deliver(task())

def test_in_a_loop(bothost: Harness) -> None:
    async def inner() -> None:
        bothost.bot(forgetful)
    asyncio.run(inner())
"""

BESIDE = """
import asyncio

import anyio
import pytest
import tornado.web

from bothost import Event
from bothost.testing import Harness, task

async def slow(event: Event) -> str:
    await asyncio.sleep(70)
    return "at last"

@pytest.mark.parametrize("number", range(5))
def test_harness(bothost: Harness, number: int) -> None:
    bothost.bot(slow).deliver(task())
    bothost.clock.advance("20s")
    bothost.assert_one_comment()

@pytest.mark.asyncio
async def test_pytest_asyncio() -> None:
    await asyncio.sleep(0.01)

@pytest.mark.asyncio
async def test_the_harness_in_an_async_test_is_refused(bothost: Harness) -> None:
    with pytest.raises(RuntimeError, match="plain `def test_"):
        bothost.bot(slow)

@pytest.mark.anyio
async def test_anyio(anyio_backend) -> None:
    await anyio.sleep(0.01)

@pytest.fixture(params=[("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return request.param

class Hello(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write("hello")

@pytest.fixture
def app() -> tornado.web.Application:
    return tornado.web.Application([("/", Hello)])

@pytest.mark.gen_test
def test_pytest_tornado(http_client, base_url):
    response = yield http_client.fetch(base_url)
    assert response.body == b"hello"

@pytest.mark.parametrize("number", range(5))
def test_harness_again(bothost: Harness, number: int) -> None:
    bothost.bot(slow).deliver(task())
    bothost.clock.advance("20s")
    bothost.assert_one_comment()
"""

SETTINGS = """
[pytest]
addopts = --import-mode=importlib --strict-config --strict-markers
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:pkg_resources is deprecated as an API:UserWarning
    ignore:The hookimpl pytest_pycollect_makeitem uses old-style:pytest.PytestRemovedIn10Warning
    ignore:The hookimpl pytest_pyfunc_call uses old-style:pytest.PytestRemovedIn10Warning
"""


def run_pytest(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=120
    )


def test_loading_the_plugin_imports_neither_tornado_nor_the_core() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["bothost", "bothost.testing", "bothost.testing.pytest_plugin"]


def test_a_test_needs_no_marker_and_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "test_bot.py").write_text(ONE_TEST)
    done = run_pytest(tmp_path)
    assert "2 passed" in done.stdout, done.stdout


def test_mistakes_fail_with_advice(tmp_path: Path) -> None:
    (tmp_path / "test_bot.py").write_text(FAILING)
    done = run_pytest(tmp_path)
    assert "2 failed" in done.stdout, done.stdout
    assert "was never awaited" in done.stdout
    assert "write the test as a plain `def test_...`" in done.stdout


@pytest.mark.full
def test_it_works_beside_the_plugins_that_bring_their_own_loops(tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", extra, "pytest-asyncio", "anyio", "idna"],
        check=True, capture_output=True,
    )  # fmt: skip
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_beside.py").write_text(BESIDE)
    (folder / "conftest.py").write_text((Path(__file__).parents[1] / "conftest.py").read_text("utf-8"))
    for _ in range(6):
        done = run_pytest(folder, PYTHONPATH=str(extra))
        assert "15 passed" in done.stdout, done.stdout + done.stderr
