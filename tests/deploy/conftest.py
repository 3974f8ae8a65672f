"""Web servers, certificates and hosts for the files of docs/deploy."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.deploy.front import NAME, Front, certificate, filled
from tests.e2e.site import HostSite, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GREET = """
async def greet(event):
    return f"{len(event.body)} from {event.task.author.email}"
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., HostSite]]:
    """Makes hosts, each in a folder of its own; they are killed when the test ends."""
    made: list[HostSite] = []

    def make(plugins: str = GREET, bots: str = "one: plugin = greet", host: str = "xheaders = yes\n") -> HostSite:
        folder = tmp_path / f"host-{len(made)}"
        folder.mkdir()
        made.append(HostSite(folder, plugins, bots, host))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def nginx(tmp_path: Path, signed: tuple[Path, Path]) -> Iterator[Callable[[str, dict[str, str]], Front]]:
    """Starts nginx with a file of docs/deploy."""
    started: list[Front] = []

    def start(name: str, upstreams: dict[str, str]) -> Front:
        port = free_port()
        site = filled(
            name,
            {
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                f"/etc/ssl/{NAME}/fullchain.pem": str(signed[0]),
                f"/etc/ssl/{NAME}/privkey.pem": str(signed[1]),
                **upstreams,
            },
        )
        folder = tmp_path / "nginx"
        folder.mkdir()
        folder.joinpath("site.conf").write_text(site)
        temps = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        folder.joinpath("nginx.conf").write_text(
            f"{user}\nworker_processes 1;\ndaemon off;\npid {folder}/pid;\nerror_log stderr warn;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temps}include {folder}/site.conf;\n}}\n"
        )
        command = [_needed("nginx"), "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
        started.append(Front(command, port, signed[0], folder / "log"))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def caddy(tmp_path: Path, signed: tuple[Path, Path]) -> Iterator[Callable[[dict[str, str]], Front]]:
    """Starts Caddy with the Caddyfile of docs/deploy."""
    started: list[Front] = []

    def start(upstreams: dict[str, str]) -> Front:
        port = free_port()
        # Caddy gets its certificates from outside: here it is given one
        site = filled(
            "Caddyfile",
            {f"{NAME} {{": f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {signed[0]} {signed[1]}", **upstreams},
        )
        file = tmp_path / "Caddyfile"
        file.write_text(
            "{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system " + str(tmp_path) + "\n}\n" + site
        )
        command = [_needed("caddy"), "run", "--config", file, "--adapter", "caddyfile"]
        started.append(Front(command, port, signed[0], tmp_path / "caddy-log"))
        return started[-1]

    yield start
    for each in started:
        each.end()


def _needed(program: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"needs {program}: apt install {program}")
    return found
