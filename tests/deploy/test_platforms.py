"""Procfile, Dockerfile and compose file: what can be started here is started, the rest is linted and compared."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.deploy.front import DEPLOY
from tests.e2e.site import SECRET, free_port

from bothost import config
from bothost.config.values import HostConfig

pytestmark = pytest.mark.full
TREE = DEPLOY.parents[1]


def beside(program: str) -> str:
    """A program of this venv."""
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"needs {program}: pip install -e '.[dev]'")
    return found


def test_the_procfiles_line_serves_at_the_port_of_the_platform(make_host):
    (line,) = (TREE / "Procfile").read_text().strip().splitlines()
    kind, _, command = line.partition(": ")
    assert kind == "web"
    host = make_host(host="")
    port = free_port()
    words = shlex.split(command)
    host.log = host.folder / "log-procfile"
    with host.log.open("wb") as log:
        host.process = subprocess.Popen(
            [beside(words[0]), *words[1:]],
            cwd=host.folder,
            env={"PORT": str(port), "PYTHONPATH": str(host.folder), "PATH": "/usr/bin:/bin"},
            stdout=log,
            stderr=log,
        )
    assert f"0.0.0.0:{port}" in host.said("serves ")["message"]
    host.port = port
    assert host.deliver("one").status == 200
    assert host.stop() == 0


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run(
        [beside("hadolint"), "--no-color", str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_copies_only_what_exists_and_does_not_run_as_root():
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _target = line.split()
        assert all((TREE / source).exists() for source in sources), line
    user = re.findall(r"^USER (.+)$", text, re.MULTILINE)
    assert user == ["10001"]
    assert f"EXPOSE {HostConfig.__dataclass_fields__['port'].default}" in text
    entry, command = (
        json.loads(re.findall(rf"^{word} (.+)$", text, re.MULTILINE)[-1]) for word in ("ENTRYPOINT", "CMD")
    )
    help_text = subprocess.run(
        [beside(entry[0]), *command[:1], "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--config" in help_text


def test_the_images_health_check_passes_while_the_host_serves_and_fails_when_it_does_not(make_host):
    text = (DEPLOY / "Dockerfile").read_text()
    check = json.loads(re.findall(r"HEALTHCHECK.*\\\n\s+CMD (\[.+\])$", text, re.MULTILINE)[0])
    host = make_host().start()
    command = [sys.executable, *(part.replace(":8080", f":{host.port}") for part in check[1:])]
    assert subprocess.run(command, check=False).returncode == 0
    host.stop()
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_the_compose_file_gives_the_container_what_the_host_needs(tmp_path):
    text = (DEPLOY / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["bothost"]
    assert (service["init"], service["read_only"], service["cap_drop"]) == (True, True, ["ALL"])
    assert (
        int(service["stop_grace_period"].removesuffix("s")) == HostConfig.__dataclass_fields__["drain_s"].default + 20
    )
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert set(service["secrets"]) == set(yaml.safe_load(text)["secrets"])
    # the bots.ini that its first lines show is one that the host takes, with secrets where Docker puts them
    ini = re.sub(r"^#   ", "", "".join(re.findall(r"^#   .+\n", text, re.MULTILINE)), flags=re.MULTILINE)
    for name in service["secrets"]:
        tmp_path.joinpath(name).write_text(SECRET)
    file = tmp_path / "bots.ini"
    file.write_text(ini)
    loaded = config.load(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.bots["autoreply"].plugin == "autoreply"
    assert loaded.bots["autoreply"].secrets == (SECRET.encode(),)
    assert str(loaded.host.state) in str(service["volumes"])
