"""Distributions that bring plugins, made on the spot and put on sys.path."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.config.secrets import SecretSources
from bothost.plugins.discovery import DiscoveredPlugin, find
from bothost.plugins.loading import LoadedPlugin, PluginResources, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def resources(tmp_path: Path) -> PluginResources:
    """What a host has for a plugin."""
    return PluginResources(SystemClock(), tmp_path / "state" / "bot", None, SecretSources(tmp_path, {}))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`install("dist", "name = module:object", module="source")`: a distribution with entry points and modules."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def made(distribution: str, points: str, **modules: str) -> None:
        info = site / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[bothost.plugins]\n{points}\n", "utf-8")
        for name, source in modules.items():
            (site / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")
        os.utime(site)

    yield made
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def load_installed(resources: PluginResources) -> Callable[..., LoadedPlugin]:
    """Load what an installed entry point names, for the bot `a`."""
    return lambda plugin, **settings: load(BotConfig(name="a", plugin=plugin, settings=settings), find(), resources)


@pytest.fixture
def plug(resources: PluginResources) -> Callable[..., LoadedPlugin]:
    """Load an object as if an entry point named it, for the bot `a`."""

    def made(target: Any, config: BotConfig | None = None, **settings: Any) -> LoadedPlugin:
        config = config or BotConfig(name="a", plugin="p", settings=settings, file="bots.ini", line=3)
        return load(
            config, {config.plugin: DiscoveredPlugin(config.plugin, lambda: target, "dist-p", "2.0")}, resources
        )

    return made
