"""`bothost doctor` against a fake Pyrus, real listeners and real certificates."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

from tests.cli.conftest import Run
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

SECRET = "a-secret-of-sixteen-or-more"


def findings(run: Run) -> dict[str, tuple[str, str]]:
    done = run("doctor", "--json")
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    return {row["check"]: (row["state"], row["text"]) for row in told["checks"]}


def write(folder: Path, host: str = "", bot: str = "") -> None:
    file = folder / "bots.ini"
    file.write_text(
        f"[host]\nport = 1\noperator_port = 2\n{host}\n[bot:one]\nplugin = autoreply\nsecret = {SECRET}\n{bot}\n"
    )
    file.chmod(0o600)


def test_a_host_that_does_not_run_yet_is_no_problem(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    found = findings(run)
    assert found["configuration"][0] == "ok"
    assert found["bot one"][0] == "ok"
    assert found["listener"][0] == found["page"][0] == "warning"
    assert "the host is not running" in found["listener"][1]
    assert found["journal"][0] == "warning"
    assert "does not outlive the process" in found["login of one"][1]
    assert [path.name for path in tmp_path.iterdir()] == ["bots.ini"]
    ini = tmp_path / "bots.ini"
    ini.write_text(ini.read_text().replace("port = 1", "port = 0"))
    assert "only the log of the running host" in findings(run)["listener"][1]
    assert "port = 0: only the log of the running host" in run("send", "one").stderr


def test_a_wrong_section_and_a_missing_plugin_are_problems(run: Run, tmp_path: Path) -> None:
    write(tmp_path, bot="[bot:two]\nplugin = nowhere\nsecret = another-secret-of-the-other")
    assert run("doctor").returncode == 1
    found = findings(run)
    assert found["bot two"][0] == "problem"
    assert "not installed" in found["bot two"][1]


def test_another_program_on_the_port_is_noticed(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        port = sockets[0].getsockname()[1]
        server = HTTPServer(_not_found)
        server.add_sockets(sockets)
        write(tmp_path, host="")
        text = (tmp_path / "bots.ini").read_text().replace("port = 1\n", f"port = {port}\n")
        (tmp_path / "bots.ini").write_text(text)
        found = await asyncio.to_thread(findings, run)
        assert found["listener"] == (
            "problem",
            f"http://127.0.0.1:{port} answers 404 to /healthz: another program has the port",
        )
        server.stop()
        await server.close_all_connections()

    asyncio.run(scene())


def _not_found(request: HTTPServerRequest) -> None:
    assert request.connection is not None
    from tornado.httputil import HTTPHeaders, ResponseStartLine

    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 404, "x"), HTTPHeaders({"Content-Length": "0"}))
    request.connection.finish()


def test_the_journal_is_written_and_read_and_a_learnt_login_is_tried(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        pyrus = FakePyrus(SystemClock())
        pyrus.add_bot("bot@learnt", SECRET, 900100)
        server = FakeServer(pyrus)
        write(tmp_path, bot=f"api_url = {server.base_url}")
        store = open_journal("", tmp_path / "state", SystemClock(), claims_first=False)
        await store.open()
        await store.control("login:one", "bot@learnt")
        found = await asyncio.to_thread(findings, run)
        assert found["journal"][0] == "ok"
        assert found["login of one"] == ("ok", "bot@learnt logs in and asks who it is")
        await store.control("login:one", "bot@wrong")
        assert (await asyncio.to_thread(findings, run))["login of one"][0] == "problem"
        assert "doctor" not in await store.controls()
        await store.close()
        await server.refuse()

    asyncio.run(scene())


def test_each_bot_with_a_login_logs_in_and_a_wrong_key_is_a_problem(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        pyrus = FakePyrus(SystemClock())
        pyrus.add_bot("bot@one", SECRET, 900100)
        server = FakeServer(pyrus)
        write(tmp_path, bot=f"login = bot@one\napi_url = {server.base_url}")
        found = await asyncio.to_thread(findings, run)
        assert found["login of one"][0] == "ok", found
        assert found["clock"] == ("ok", "agrees with the servers asked")
        write(tmp_path, bot=f"login = bot@two\napi_url = {server.base_url}")
        found = await asyncio.to_thread(findings, run)
        assert found["login of one"][0] == "problem"
        assert SECRET not in found["login of one"][1]
        await server.refuse()

    asyncio.run(scene())


def behind_tls(folder: Path) -> tuple[HTTPServer, int]:
    """A server that knows no path, with a certificate of its own making; its port."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(_not_found, ssl_options=context)
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]


def test_a_page_beyond_loopback_is_asked_by_tls_where_the_host_has_a_certificate(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        server, port = behind_tls(tmp_path)
        keys = "operator_address = 0.0.0.0\noperator_token = a-token-of-sixteen-or-more\ncertfile = cert.pem\nkeyfile = key.pem"
        write(tmp_path, host=keys)
        ini = tmp_path / "bots.ini"
        ini.write_text(ini.read_text().replace("operator_port = 2", f"operator_port = {port}"))
        found = await asyncio.to_thread(findings, run)
        assert found["page"] == ("problem", f"the host is not ready: https://127.0.0.1:{port}/readyz says why")
        assert (
            json.loads((await asyncio.to_thread(run, "token", "--json")).stdout)["url"] == f"https://127.0.0.1:{port}/"
        )
        server.stop()
        await server.close_all_connections()

    asyncio.run(scene())


def test_a_public_address_with_a_certificate_nobody_trusts_is_a_problem(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        server, port = behind_tls(tmp_path)
        write(tmp_path, host=f"public_url = https://localhost:{port}")
        found = await asyncio.to_thread(findings, run)
        assert found["public address"][0] == "problem"
        assert "Pyrus will not call it" in found["public address"][1]
        trusted = {"SSL_CERT_FILE": str(tmp_path / "cert.pem")}
        done = await asyncio.to_thread(run, "doctor", "--json", **trusted)
        rows = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
        assert rows["certificate"]["state"] == "problem"
        assert "renew it" in rows["certificate"]["text"]
        assert "answers 404" in rows["public address"]["text"]
        server.stop()
        await server.close_all_connections()

    asyncio.run(scene())


def test_nothing_shows_the_secret(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    done = run("doctor")
    assert SECRET not in done.stdout + done.stderr
    assert "ok    configuration" in done.stdout
