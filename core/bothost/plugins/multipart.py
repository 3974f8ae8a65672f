"""Read bodies of forms, urlencoded and multipart, as browsers and services send them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from bothost.errors import RequestRefused

MOST_PARTS = 1000
MOST_HEAD_BYTES = 8 << 10
"""The most that the headers of one part may take."""
_PARAMETER = re.compile(r';\s*([a-z*]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form: its name as the sender gave it, its type, its bytes."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ParsedForm:
    """The fields and files of a form, in the order of the body."""

    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, FormFile], ...] = ()


def form_of(content_type: str, body: bytes) -> ParsedForm:
    """Read a body by its Content-Type. Raises RequestRefused if it is no form, or a broken one."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_PARTS)
        except ValueError:
            raise RequestRefused("the form cannot be read") from None
        return ParsedForm(tuple(pairs))
    if kind != "multipart/form-data":
        raise RequestRefused(f"a form is expected, not {kind or 'a body without Content-Type'!s:.80}")
    boundary = _parameters(content_type).get("boundary", "")
    if not boundary:
        raise RequestRefused("the form has no boundary")
    return _multipart(body, boundary.encode())


def _multipart(body: bytes, boundary: bytes) -> ParsedForm:
    # not all of them: a body of nothing but boundaries would become millions of pieces
    delimiter = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(?=--|[ \t]*\r\n)")
    parts = delimiter.split(b"\r\n" + body, MOST_PARTS + 2)
    if len(parts) > MOST_PARTS + 2:
        raise RequestRefused(f"the form has more than {MOST_PARTS} parts")
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise RequestRefused("the form is cut off")
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, FormFile]] = []
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if len(head) > MOST_HEAD_BYTES:
            raise RequestRefused(f"the headers of a part of the form have more than {MOST_HEAD_BYTES} bytes")
        headers = _headers(head)
        named = _parameters(headers.get("content-disposition", ""))
        if not blank or "name" not in named:
            raise RequestRefused("a part of the form has no name")
        filename = _filename(named)
        if filename is None:
            fields.append((named["name"], content.decode("utf-8", "replace")))
        else:
            kind = headers.get("content-type", "application/octet-stream")
            files.append((named["name"], FormFile(filename, kind, content)))
    return ParsedForm(tuple(fields), tuple(files))


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parameters(value: str) -> dict[str, str]:
    found = {}
    for name, quoted, plain in _PARAMETER.findall(value):
        found[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
    return found


def _filename(named: dict[str, str]) -> str | None:
    """Return a file's name, its last segment only; None if the part is a field."""
    extended = named.get("filename*", "")
    if extended.lower().startswith("utf-8''"):
        name: str | None = unquote(extended[7:])
    else:
        name = named.get("filename")
        # browsers write quotes and line ends of a name as %22, %0D, %0A
        name = re.sub("%(22|0D|0A)", lambda one: chr(int(one[1], 16)), name) if name is not None else None
    return None if name is None else re.split(r"[/\\]", name)[-1]
