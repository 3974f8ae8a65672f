"""What one writes who starts from FastAPI: signature over the raw body, then typed models of the keys that are used."""

import hmac
import os
import time

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict


class Loose(BaseModel):
    """Keeps what it does not name."""

    model_config = ConfigDict(extra="allow")


class Person(Loose):
    id: int
    email: str | None = None


class Comment(Loose):
    id: int
    text: str | None = None
    author: Person


class Field(Loose):
    id: int
    name: str | None = None


class Task(Loose):
    id: int
    text: str | None = None
    author: Person
    comments: list[Comment] = []
    fields: list[Field] = []


class Delivery(Loose):
    task_id: int
    user_id: int | None = None
    task: Task


class Reply(BaseModel):
    text: str
    approval_choice: str


app = FastAPI()
SECRET = os.environ["BENCH_SECRET"].encode()
OTHER_SECRET = os.environ["BENCH_OTHER_SECRET"].encode()


def verify(request: Request, body: bytes, secret: bytes) -> None:
    """Refuse what the secret has not signed."""
    digest = hmac.digest(secret, body, "sha1")  # in one call of OpenSSL
    if not hmac.compare_digest(digest.hex(), request.headers.get("x-pyrus-sig", "").lower()):
        raise HTTPException(403)


@app.post("/b0")
async def receive(request: Request) -> Reply:
    """Answer one delivery."""
    body = await request.body()
    verify(request, body, SECRET)
    author = Delivery.model_validate_json(body).task.author
    return Reply(text=f"Hello, {author.email}. This task approved by bot.", approval_choice="approved")


@app.post("/b1")
async def other(request: Request) -> dict[str, str]:
    """Answer one delivery of a bot that blocks."""
    verify(request, await request.body(), OTHER_SECRET)
    time.sleep(0.5)
    return {}
