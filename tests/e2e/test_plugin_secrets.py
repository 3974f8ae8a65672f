"""The value of a plugin's Secret setting stands in no log line, stored error or list, and in no file of the journal."""

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
class Tells(Plugin):
    class Settings(Settings):
        literal: Secret
    def known(self, request):
        return request.headers.get("X-Key") == self.settings.literal.reveal()
    @hook("asked", known, once="/id")
    async def asked(self, request):
        self.log.info("was asked with %s", request.json["id"])
    @job("later")
    async def later(self, job):
        pass
    async def handle(self, event):
        if event.comment.text == "stores":
            await self.jobs.add("later", after="3h", data=dict(event.raw))
        if event.comment.text == "token":
            return Reply("it is " + event.raw["access_token"])
        return Reply(text=self.settings.literal.reveal())
"""
SECRETS = ("literal-plugin-secret", "plugin-secret-in-a-file", "one-of-several-secrets", "other-of-several-secrets")
REFUSED = {
    "secret": "returned a reply that cannot be used: it holds a Secret of the settings",
    "token": "returned a reply that cannot be used: it holds the access token of the event",
    "stores": "the data of the job 'later' cannot be stored: it holds an access token or a secret",
}


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_secret_setting_stands_nowhere(site, run):
    literal, filed, *several = SECRETS
    host = site(
        PLUGINS,
        f"leaks: plugin = Leaks; run = {run}; literal = {literal}; filed = file:key; several = {', '.join(several)}\n"
        f"tells: plugin = Tells; run = {run}; literal = {literal}",
    )
    (host.folder / "key").write_text(filed + "\n")
    host.start()
    assert host.deliver("leaks", comment=1).status == 500
    host.said("raised ValueError")
    for comment, (text, why) in enumerate(REFUSED.items(), 2):
        assert host.deliver("tells", comment=comment, text=text).status == 500
        host.said(why)
    body = json.dumps({"id": "a request with its key", "key": literal}).encode()
    assert host.post("tells/asked", body, {"X-Key": literal, "Content-Type": "application/json"}).status == 202
    host.said("was asked with a request with its key")
    listed = host.command("deliveries", "list")
    shown = json.dumps([*listed, host.command("deliveries", "show", listed[-1]["id"])])
    assert host.stop() == 0
    kept = b"".join(one.read_bytes() for one in (host.folder / "state").rglob("*") if one.is_file())
    assert b"a request with its key" in kept
    for secret in (*SECRETS, "token-of-the-event"):
        assert secret not in host.log.read_text("utf-8")
        assert secret not in shown
        assert secret.encode() not in kept
