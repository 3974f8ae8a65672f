"""Hooks in a real host: guards, one run over workers and kills, slow pages, large files, by hand."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.site import HostSite, Response

if TYPE_CHECKING:
    from pathlib import Path

KEY = "the key of the bank"
PLUGINS = """
import asyncio, os, pathlib, time
HERE = pathlib.Path(__file__).parent
class Payments(Plugin):
    class Settings(Settings):
        key: Secret
    def note(self, what):
        with (HERE / "paid").open("a") as file:
            file.write(what + "\\n")
    @hook("paid", signed("settings.key", header="X-Signature"), once=lambda request: request.json["id"])
    async def paid(self, request):
        if (HERE / "slow").exists():
            await asyncio.sleep(0.3)
        self.note(str(request.json["id"]))
    @hook("page", token("settings.key", query="key"), methods=("GET",))
    def page(self, request):
        time.sleep(float(request.query.get("takes", "0")))
        return Response.html("<p>done</p>")
    @hook("upload", token("settings.key"))
    async def upload(self, request):
        file = request.files["file"]
        return {"name": file.name, "bytes": len(file.content), "pid": os.getpid()}
    @hook("dies", anyone)
    async def dies(self, request):
        os._exit(1)
async def greet(event):
    return "hello"
"""
BOTS = "pay: plugin = Payments; key = the key of the bank; run = {run}; concurrency = 4\nother: plugin = greet"


def signature(body: bytes) -> dict[str, str]:
    return {"X-Signature": hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()}


def call(site: HostSite, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def pay(site: HostSite, number: int) -> Response:
    body = json.dumps({"id": number}).encode()
    return call(site, "/pay/paid", body, **signature(body))


def paid(folder: Path) -> list[str]:
    path = folder / "paid"
    return path.read_text().split() if path.exists() else []


def started(folder: Path, run: str = "auto", host: str = "") -> HostSite:
    return HostSite(folder, PLUGINS, BOTS.replace("{run}", run), host).start()


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_payment_runs_once_over_two_workers_however_often_it_is_told(tmp_path: Path, run: str) -> None:
    site = started(tmp_path, run, "processes = 2\n")
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: pay(site, number % 5), range(20)))
        assert {one.status for one in answers} == {202}
        assert len({one.body for one in answers}) == 5
        site.until(lambda: len(paid(tmp_path)) == 5)
        assert sorted(paid(tmp_path)) == ["0", "1", "2", "3", "4"]
        assert call(site, "/pay/paid", b'{"id": 9}', **{"X-Signature": "00"}).status == 403
        assert call(site, "/pay/paid", b'{"id": 9}').status == 403
        assert call(site, "/pay/nothing", b"").status == 404
        assert call(site, "/pay/page", b"").headers["Allow"] == "GET, HEAD"
        assert site.deliver("other", 5, 1).text == "hello"
        listed = site.command("deliveries", "list", "--kind", "hook")
        assert [(row["bot"], row["kind"], row["state"]) for row in listed] == [("pay", "hook", "answered")] * 5
        assert any("hook dies" not in line["message"] for line in site.lines())
    finally:
        site.end()


def kill_after_202(site: HostSite, times: int) -> None:
    (site.folder / "slow").touch()
    for number in range(times):
        assert pay(site, number).status == 202
        site.tell(signal.SIGKILL)
        site.wait()
        site.start()
        site.until(lambda: str(number) in paid(site.folder))  # noqa: B023 - asked before the next one
    time.sleep(0.5)
    assert len(paid(site.folder)) == times


def test_kill_9_after_the_202_loses_nothing(tmp_path: Path) -> None:
    """25 times with BOTHOST_LONG=1."""
    site = started(tmp_path)
    try:
        kill_after_202(site, 25 if os.environ.get("BOTHOST_LONG") else 2)
    finally:
        site.end()


def test_twenty_slow_pages_do_not_touch_a_neighbour(tmp_path: Path) -> None:
    site = started(tmp_path)
    try:
        with ThreadPoolExecutor(20) as pool:
            pages = [
                pool.submit(call, site, "/pay/page?takes=0.4&key=the%20key%20of%20the%20bank", b"", "GET")
                for _ in range(20)
            ]
            began = time.monotonic()
            assert [site.deliver("other", 5, number).text for number in range(1, 6)] == ["hello"] * 5
            between = time.monotonic() - began
            assert not all(page.done() for page in pages)
            assert between < 2.0
            assert {(page.result().status, page.result().body) for page in pages} == {(200, b"<p>done</p>")}
    finally:
        site.end()


ELSEWHERE = (
    "/pay/../pay/page", "/pay//page", "//pay/page", "/pay/./page", "/pay/%2e%2e/pay/page", "/pay/page/", "/pay/page%2f",
    "/pay/page%00", "/pay/pa%2567e", "/PAY/page", "/pay/page;x", "/other/../pay/page", "/other/page", "/pay\\page",
)  # fmt: skip


def test_no_trick_with_path_method_or_query_reaches_a_hook(tmp_path: Path) -> None:
    site = started(tmp_path)
    key = "key=the%20key%20of%20the%20bank"
    try:
        for path in ELSEWHERE:
            assert call(site, f"{path}?{key}", method="GET").status == 404, path
        assert call(site, f"/pay/p%61ge?{key}", method="GET").status == 200
        assert (
            call(site, f"/pay/page?{key}&_method=GET", b"", "POST", **{"X-HTTP-Method-Override": "GET"}).status == 405
        )
        assert call(site, f"/pay/page?{key}&{key}", method="GET").status == 403
        assert call(site, f"/pay/page?{key}{'&a=b' * 5000}", method="GET").status == 431
        assert call(site, f"/pay/page?{key}{'&a=b' * 1500}", method="GET").status == 403
        assert call(site, f"/pay/page?{key}{'&a=b' * 900}", method="GET").status == 200
        log = site.log.read_text("utf-8")
        assert KEY not in log
        assert KEY.replace(" ", "%20") not in log
        assert site.stop() == 0
    finally:
        site.end()


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_file_of_ten_megabytes_arrives_whole(tmp_path: Path, run: str) -> None:
    site = started(tmp_path, run)
    content = os.urandom(10_000_000)
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="Счёт №1.pdf"\r\n\r\n'.encode()
    body = head + content + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {KEY}"}
    try:
        told: dict[str, Any] = json.loads(call(site, "/pay/upload", body, **headers).body)
        assert (told["name"], told["bytes"]) == ("Счёт №1.pdf", len(content))
        assert call(site, "/pay/upload", b"x" * (17 << 20), **headers).status == 413
        if run == "process":
            assert call(site, "/pay/dies").status == 500
            assert call(site, "/pay/upload", body, **headers).status == 200
    finally:
        site.end()


def test_an_operator_sees_hooks_and_sends_to_them(tmp_path: Path) -> None:
    site = started(tmp_path, "process")
    try:
        url = f"http://127.0.0.1:{site.port}"
        (tmp_path / "body.json").write_text('{"id": 7}')
        sent = site.command("send", "pay", str(tmp_path / "body.json"), "--hook", "paid", "--url", url)
        assert (sent["status"], sent["reply"]) == (202, {"id": "pay:0:hook:paid:7"})
        assert site.command("send", "pay", "--hook", "page", "--url", url)["reply"] == "<p>done</p>"
        site.command("send", "pay", "--hook", "piad", code=2)
        (row,) = site.command("bots", "pay")
        assert [hook["address"] for hook in row["hooks"]] == ["/pay/paid", "/pay/page", "/pay/upload", "/pay/dies"]
        assert row["hooks"][0]["guard"] == "signed(X-Signature, sha256)"
        site.until(lambda: paid(tmp_path) == ["7"])
        for rows in (site.command("check")["warnings"], site.command("doctor")["checks"]):
            assert len([row for row in rows if "everybody may call its hooks dies (anyone)" in row["text"]]) == 1
        retried = site.command("deliveries", "retry", "pay:0:hook:paid:7", "--again")
        assert retried
        site.until(lambda: paid(tmp_path) == ["7", "7"])
        assert KEY not in site.log.read_text("utf-8")
    finally:
        site.end()


def test_two_bots_whose_paths_collide_are_an_error_of_check(tmp_path: Path) -> None:
    bots = BOTS.replace("{run}", "auto") + "\nthird: plugin = greet; path = /pay/paid"
    site = HostSite(tmp_path, PLUGINS, bots)
    told = site.command("check", code=1)
    assert "its hook 'paid' would be at /pay/paid, which belongs to [bot:third]" in told["problems"][0]["text"]
