"""nginx and Caddy with the files of docs/deploy, started for real, with TLS, in front of a real host."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from tests.deploy.front import event
from tests.e2e.site import SECRET

from bothost.pyrus.signature import sign

pytestmark = pytest.mark.full


@pytest.fixture(params=["nginx", "caddy"])
def fronted(request, make_host):
    """A host and the web server in front of it."""
    host = make_host().start()
    start = request.getfixturevalue(request.param)
    upstream = {"127.0.0.1:8080": f"127.0.0.1:{host.port}"}
    front = start("nginx.conf", upstream) if request.param == "nginx" else start(upstream)
    return host, front


def test_a_delivery_of_three_megabytes_is_answered_behind_a_proxy(fronted):
    _host, front = fronted
    body = event(5, 3 << 20)
    answer = front.deliver("/one", body)
    assert (answer.status, answer.text) == (200, f"{len(body)} from a@example.com")
    assert front.deliver("/one", body, secret="another secret, also long").status == 403
    assert front.deliver("/nobody", body).status == 404


def test_a_body_that_is_too_large_for_the_bot_gets_the_hosts_own_413(fronted):
    host, front = fronted
    answer = front.deliver("/one", event(6, 17 << 20))
    assert answer.status == 413
    assert answer.body == b"{}"
    assert "max_body" in host.said("max_body")["message"]


def test_the_log_names_the_sender_whatever_address_it_claims(fronted):
    host, front = fronted
    connection = front.connect(sender="127.0.0.2")
    connection.request("POST", "/one", b"{}", {"X-Forwarded-For": "203.0.113.9", "X-Pyrus-Sig": "00"})
    assert connection.getresponse().status == 403
    connection.close()
    assert host.said("signature")["peer"] == "127.0.0.2"


def test_deliveries_on_one_kept_connection_are_all_answered(fronted):
    _host, front = fronted
    connection = front.connect()
    for task in range(20):
        body = event(100 + task)
        connection.request("POST", "/one", body, {"X-Pyrus-Sig": sign(body, SECRET)})
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 2) == (200, True)
    connection.close()


HOOKS = """
class Orders(Plugin):
    class Settings(Settings):
        key: Secret
    @hook("paid", signed("settings.key", header="X-Signature"), once="/id")
    async def paid(self, request):
        pass
    @hook("page", token("settings.key", query="key"), methods=("GET",))
    async def page(self, request):
        return Response.html(f"<p>{request.query['name']} from {request.peer}</p>")
"""


@pytest.mark.parametrize("server", ["nginx", "caddy"])
def test_a_hook_is_signed_accepted_and_answered_behind_a_proxy(request, make_host, server):
    host = make_host(HOOKS, "orders: plugin = Orders; key = the key of the bank").start()
    upstream = {"127.0.0.1:8080": f"127.0.0.1:{host.port}"}
    start = request.getfixturevalue(server)
    front = start("nginx.conf", upstream) if server == "nginx" else start(upstream)
    body = b'{"id":  7, "\xd0\xb8\xd0\xbc\xd1\x8f": "' + b"x" * 100_000 + b'"}'
    made = hmac.new(b"the key of the bank", body, hashlib.sha256).hexdigest()
    connection = front.connect(sender="127.0.0.2")
    seen = []
    for signature in (made, made, "00" * 32):
        connection.request("POST", "/orders/paid", body, {"X-Signature": signature})
        answer = connection.getresponse()
        seen.append((answer.status, answer.read()))
    assert [status for status, _ in seen] == [202, 202, 403]
    assert seen[0] == seen[1]
    connection.request("GET", "/orders/page?key=the%20key%20of%20the%20bank&name=%D0%90%D0%BD%D0%BD%D0%B0%26")
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (200, "<p>Анна& from 127.0.0.2</p>")
    connection.close()
