"""What the host's distribution and its plugins' tell a package index: licence, classifiers, a README without dead links."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
PYTHONS = [f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)]
LINK_INTO_THE_REPOSITORY = re.compile(r"\]\((?!https?:|#)[^)]*\)")


@pytest.fixture(scope="module")
def host() -> dict[str, Any]:
    """What setup.py says, with its names in capitals beside it."""
    said: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", said.update)
        names = runpy.run_path(str(ROOT / "setup.py"))
    return said | {"REPOSITORY": names["REPOSITORY"]}


def project(plugin: Path) -> dict[str, Any]:
    return tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_host_names_the_pythons_that_are_tested_and_its_readme_has_no_dead_link(host: dict[str, Any]) -> None:
    assert [one for one in host["classifiers"] if "Python :: 3." in one] == PYTHONS
    assert host["license_expression"] == "MIT"
    assert not LINK_INTO_THE_REPOSITORY.findall(host["long_description"])
    workflow = (ROOT / ".github/workflows/checks.yml").read_text("utf-8")
    assert ", ".join(f'"{one.rpartition(" ")[2]}"' for one in PYTHONS) in workflow


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_is_found_and_trusted_like_the_host(plugin: Path, host: dict[str, Any]) -> None:
    said = project(plugin)
    assert set(host["classifiers"]) >= set(said["classifiers"]) >= {*PYTHONS, "Typing :: Typed"}
    assert {"pyrus", "bot", "bothost"} < set(said["keywords"])
    assert said["license"] == "MIT"
    assert (plugin / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes(), f"copy LICENSE into {plugin}"
    assert said["version"] == host["version"]
    assert not LINK_INTO_THE_REPOSITORY.findall((plugin / "README.md").read_text("utf-8")), "dead on a package index"
    urls = said.get("urls", {})
    assert urls == host["project_urls"], f"let [project.urls] of {plugin / 'pyproject.toml'} be {host['project_urls']}"
