"""Hand verified events of Pyrus to any HTTP service, signed with a key of its own, and hand its answers back.

An existing bot in any language gains verification, once-only, lateness and journal without a rewrite.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import zlib
from datetime import timedelta
from typing import Any, NoReturn

import aiohttp

from bothost import (
    Event,
    GiveUp,
    Job,
    Plugin,
    Reply,
    ReplyError,
    Request,
    RequestRefused,
    Secret,
    ServiceAddress,
    Settings,
    hook,
    job,
    sign,
    signed,
)

__all__ = ["Relay", "Target"]

LARGEST_ANSWER = 4 << 20
LARGEST_LATER = 200_000
"""The most bytes of a later answer, which waits as a job's data."""
NO_CODINGS = ("", "identity", "utf-8", "utf8", "none")
"""Content-Encodings under which services send plain answers: some name a character set there."""
LATER_DAYS = 30
"""The days that a service may take for an answer that it gives later."""


class Target(Settings):
    """`url` of the service, `key` to sign with, `answer` how long it may take."""

    url: ServiceAddress
    key: Secret
    answer: timedelta = timedelta(minutes=10)


def answered(request: Request) -> str:
    """Return the id of the event that a later answer belongs to. Raises RequestRefused, which tells the service what is wrong: once
    an answer was accepted, no better one is taken.
    """
    if len(request.body) > LARGEST_LATER:
        raise RequestRefused(f"the answer has {len(request.body)} bytes; the most is {LARGEST_LATER}")
    answer = request.json
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        raise RequestRefused('the answer needs "id", the Idempotency-Key of the event')
    if not isinstance(answer.get("reply"), dict):
        raise RequestRefused('the answer needs "reply", an object as Pyrus takes it')
    try:
        Reply(**{key: value for key, value in whole(answer["reply"]).items() if key in Reply.__struct_fields__})
    except ReplyError as error:
        raise RequestRefused(f"the reply cannot be written: {error}") from None
    return slot(answer["id"])


def slot(event_id: str) -> str:
    """Return the key under which an event waits for its later answer."""
    return f"later/{hashlib.sha256(event_id.encode('utf-8', 'replace')).hexdigest()}"


class Relay(Plugin[Target]):
    """Plain where it calls, so each call has a thread of the bot's own; as many at once as `concurrency` says."""

    def handle(self, event: Event) -> dict[str, Any] | None:
        """POST the event's bytes as Pyrus signed them. Raises GiveUp for a 4xx; anything else is tried again."""
        status, body = asyncio.run(self._post(event))
        if status == 202 and not body.strip():
            asked = {"task": event.task_id, "step": event.step, "job": ""}
            self.store.setdefault(slot(event.id), asked, expires=f"{LATER_DAYS}d").wait()
            return None
        if 200 <= status < 300:
            return self._reply(body)
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise GiveUp(f"{self.settings.url} refused the event: {status}")
        raise ConnectionError(f"{self.settings.url} answered {status}")

    @hook("reply", signed("settings.key", header="X-Pyrus-Sig", digest="sha1"), once=answered)
    async def later(self, request: Request) -> None:
        """Take the answer to an event that the service answered 202. Raises LookupError if no such event waits for one."""
        key = slot(request.json["id"])
        asked = await self.store.get(key)
        if asked is None:
            raise LookupError(
                f"no event {request.json['id']:.200} waits for an answer: the service has to answer 202 to it first, "
                f"at most {LATER_DAYS} days ago"
            )
        await self.jobs.add("write", after="0s", key=key, task=asked["task"], data=request.json["reply"])

    @job("write")
    async def write(self, job: Job) -> dict[str, Any] | None:
        """Write a later answer, as late replies are written: after a look. One event is answered once."""

        def ours(asked: dict[str, Any]) -> dict[str, Any]:
            return asked if asked["job"] else {**asked, "job": job.id}

        asked = await self.store.update(job.key, ours)
        if asked["job"] != job.id:
            return None
        reply: dict[str, Any] = whole(job.data)
        if reply.get("approval_choice") and asked["step"]:
            reply.setdefault("approval_steps", [asked["step"]])
        return reply

    async def _post(self, event: Event) -> tuple[int, bytes]:
        """Return status and body of a whole answer. Raises ConnectionError and TimeoutError if there is none."""
        url = self.settings.url
        limit_s = max(min(self.settings.answer.total_seconds(), event.time_left), 0.1)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Pyrus-Bot-4",
            "X-Pyrus-Sig": sign(event.body, self.settings.key.reveal()),
            "X-Pyrus-Retry": f"{min(event.attempt, 3)}/3",
            "Idempotency-Key": event.id,
            "Accept-Encoding": "identity",
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=limit_s), auto_decompress=False) as session,
                session.post(url, data=event.body, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status, await self._read(answer)
        except TimeoutError:
            raise TimeoutError(f"{url} gave no whole answer within {limit_s:g} s") from None
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{url} gave no whole answer: {why(error)}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise GiveUp(f"{self.settings.url} answered with more than {LARGEST_ANSWER >> 20} MB")
        coding = answer.headers.get("Content-Encoding", "").strip().lower()
        return bytes(body) if not body or coding in NO_CODINGS else self._unpacked(bytes(body), coding)

    def _unpacked(self, body: bytes, coding: str) -> bytes:
        """Unpack an answer of a service that packs although it was asked not to."""
        packed = zlib.decompressobj(wbits=47)
        try:
            plain = packed.decompress(body, LARGEST_ANSWER + 1) if coding in ("gzip", "x-gzip", "deflate") else b""
        except zlib.error as error:
            raise ConnectionError(f"{self.settings.url} answered {coding} that cannot be unpacked: {error}") from None
        if len(plain) > LARGEST_ANSWER:
            raise GiveUp(f"{self.settings.url} answered with more than {LARGEST_ANSWER >> 20} MB")
        if not packed.eof:
            raise ConnectionError(
                f"{self.settings.url} answered {coding} that is cut or unknown; answer without packing"
            )
        return plain

    def _reply(self, body: bytes) -> dict[str, Any] | None:
        """Read an answer as a reply. A text or a list writes nothing, as in Pyrus; what is no JSON and holds a brace is no answer.

        Raises ConnectionError for that, because a decision may stand in it, or it is the page of a proxy before the service.
        """
        bare = body.removeprefix(b"\xef\xbb\xbf").strip()
        if not bare:
            return None
        try:
            reply = json.loads(bare, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            if b"{" in bare:
                raise ConnectionError(f"{self.settings.url} answered JSON that is cut or wrong: {error}") from None
            self.log.warning("%s answered something that is not JSON: nothing is written", self.settings.url)
            return None
        if isinstance(reply, dict):
            return {str(whole(key)): whole(value) for key, value in reply.items()}
        if reply is not None:
            self.log.warning("%s answered JSON that is not an object: nothing is written", self.settings.url)
        return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def whole(value: Any) -> Any:
    """Replace halves of characters, which a service leaves when it cuts a text within an emoji: Pyrus refuses them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {whole(key): whole(one) for key, one in value.items()}
    return value


def why(error: aiohttp.ClientError) -> str:
    """Return the cause of an error, in the system's words where a connection failed: aiohttp's hold sockets and addresses."""
    inner = getattr(error, "os_error", None)
    if isinstance(inner, ConnectionError) and inner.errno:
        return os.strerror(inner.errno)
    return str(error) or type(error).__name__
