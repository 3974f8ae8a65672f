"""The value of a plugin's Secret setting stands in no log line, stored error or list, wherever the plugin runs."""

from __future__ import annotations

import json

import pytest

PLUGINS = """
from bothost import Secret
class Leaks(Plugin):
    class Settings(Settings):
        literal: Secret
        filed: Secret
        several: list[Secret] = []
    async def handle(self, event):
        told = [self.settings.literal, self.settings.filed, *self.settings.several]
        self.log.warning("with %s", [one.reveal() for one in told])
        raise ValueError("refused: " + " ".join(one.reveal() for one in told))
"""
SECRETS = ("literal-plugin-secret", "plugin-secret-in-a-file", "one-of-several-secrets", "other-of-several-secrets")


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_secret_setting_stands_nowhere(site, run):
    literal, filed, *several = SECRETS
    host = site(
        PLUGINS,
        f"leaks: plugin = Leaks; run = {run}; literal = {literal}; filed = file:key; several = {', '.join(several)}",
    )
    (host.folder / "key").write_text(filed + "\n")
    host.start()
    assert host.deliver("leaks", comment=1).status == 500
    host.said("raised ValueError")
    listed = json.dumps(host.command("deliveries", "list"))
    shown = json.dumps([host.command("deliveries", "show", one["id"]) for one in host.command("deliveries", "list")])
    assert host.stop() == 0
    for secret in SECRETS:
        assert secret not in host.log.read_text("utf-8")
        assert secret not in listed + shown
