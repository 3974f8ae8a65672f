"""What the API answers: any bytes become a typed value whose parts can be read, or CallUnclear."""

from __future__ import annotations

import contextlib
import json

from tests.fuzz.draw import Draw
from tests.fuzz.targets.decoder import KEYS, touch

from bothost.errors import CallError
from bothost.pyrus.rest import results

_KEYS = (
    *KEYS,
    "tasks",
    "organizations",
    "persons",
    "roles",
    "guid",
    "md5_hash",
    "catalog_headers",
    "options",
    "person_id",
)
_READERS = (results.task, results.tasks, results.form, results.catalog, results.contacts, results.profile, results.json)


def check(data: bytes) -> None:
    """Raw bytes, or JSON of known keys."""
    draw = Draw(data)
    raw = draw.sometimes(3)
    body = draw.rest() if raw else json.dumps(draw.json(_KEYS, 6)).encode()
    for reader in _READERS:
        try:
            value = reader(body)
        except CallError:
            continue
        touch(value)
    with contextlib.suppress(CallError):
        assert results.uploaded(body, "a.txt").guid


def seeds() -> list[bytes]:
    """Bodies of the shapes that Pyrus sends."""
    shapes = (
        b'{"task": {"id": 1, "fields": [{"id": 1, "type": "table", "value": [{"row_id": 0, "cells": []}]}]}}',
        b'{"tasks": [{"id": 1}, 5, null]}',
        b'{"id": 1, "steps": {"1": "a", "x": 2}, "fields": [{"id": 1, "info": {"options": [{"fields": []}]}}]}',
        b'{"organizations": [{"persons": [{"id": 1}], "roles": []}]}',
        b'{"guid": "a", "md5_hash": 5}',
        b"[" * 5000,
        b"",
        b"<html>",
    )
    return [b"\2" + shape for shape in shapes] + [bytes([kind, *range(kind, 200)]) for kind in range(6)]
