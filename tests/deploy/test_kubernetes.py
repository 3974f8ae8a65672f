"""The Kubernetes manifests: right by the schemas, with figures that agree, and in an order that loses no delivery."""

from __future__ import annotations

import http.client
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.front import event
from tests.e2e.site import SECRET, HostSite, free_port
from tests.postgres_server import PostgresServer, find_binaries

from bothost.config import read
from bothost.pyrus.signature import sign

FOLDER = Path(__file__).parents[2] / "docs" / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.32")
SLOW = """
import asyncio
async def slow(event):
    await asyncio.sleep(0.3)
    return f"answer to {event.task_id}"
"""


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["deployment.yaml", "service.yaml", "disruption-budget.yaml"])
def test_each_manifest_is_right_by_the_schemas(name: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(manifest(name), version, strict=True)


def test_the_base_names_every_file() -> None:
    base = manifest("kustomization.yaml")
    named = {*base["resources"], *base["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert named == {path.name for path in FOLDER.iterdir()}


def test_the_figures_agree_with_the_host(tmp_path: Path) -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("operator-token", "autoreply-secret"):
        (secrets / name).write_text("a-secret-of-more-than-sixteen-characters\n")
    (secrets / "journal").write_text("postgresql://bothost@database/bothost\n")
    text = (FOLDER / "bots.ini").read_text("utf-8").replace("/var/lib/bothost", str(tmp_path))
    (tmp_path / "bots.ini").write_text(text)
    reading = read(tmp_path / "bots.ini", {"CREDENTIALS_DIRECTORY": str(secrets)})
    assert not reading.all_problems()
    host = reading.host
    assert host is not None
    stops_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["terminationGracePeriodSeconds"] >= stops_s + host.drain_s + 20
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"public": host.port, "operator": host.operator_port}
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz"), ("startupProbe", "/healthz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "operator"}
    environment = {one["name"]: one["value"] for one in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert environment["CREDENTIALS_DIRECTORY"] == mounts["secrets"]
    assert manifest("service.yaml")["spec"]["selector"] == pod["metadata"]["labels"]
    assert manifest("deployment.yaml")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


class Endpoints:
    """The pods that a Service sends to, as the endpoints list them."""

    def __init__(self) -> None:
        self.hosts: list[HostSite] = []

    def deliver(self, task: int) -> tuple[int, str]:
        host = random.choice(self.hosts)
        body = event(task)
        answer = host.post("one", body, {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": "1/3"})
        return answer.status, answer.text if answer.status == 200 else ""


def ready(host: HostSite, port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.full
def test_a_rolling_restart_in_the_order_of_the_manifests_loses_no_delivery(make_host: Any) -> None:
    if find_binaries() is None:
        pytest.skip("needs PostgreSQL: apt install postgresql")
    server = PostgresServer()
    server.start()
    database = server.new_database()
    endpoints, over, told = Endpoints(), threading.Event(), []
    tasks = iter(range(1, 100_000))

    def pod() -> HostSite:
        port = free_port()
        host = make_host(
            SLOW, "one: plugin = slow; login = bot@example.com", f"journal = {database}\noperator_port = {port}"
        )
        host.start()
        host.until(lambda: ready(host, port))
        return host

    def load() -> None:
        while not over.is_set():
            task = next(tasks)
            told.append((task, *endpoints.deliver(task)))

    try:
        endpoints.hosts = [pod(), pod()]
        with ThreadPoolExecutor(8) as senders:
            running = [senders.submit(load) for _ in range(8)]
            for old in list(endpoints.hosts):
                endpoints.hosts = [*endpoints.hosts, pod()]  # maxSurge: 1, maxUnavailable: 0
                endpoints.hosts = [host for host in endpoints.hosts if host is not old]
                over.wait(1.0)  # preStop: what had been sent to the old pod still arrives there
                assert old.stop() == 0
            over.set()
            for one in running:
                one.result()
        print(f"a rolling restart of two hosts: {len(told)} deliveries, each answered at its first attempt")
        assert len(told) > 20
        assert [one for one in told if one[1:] != (200, f"answer to {one[0]}")] == []
    finally:
        over.set()
        server.close()
