"""Parse the bytes of bots.ini into sections of raw texts with their lines, and into a problem for each line that breaks a rule.

There is no interpolation, no remark after a value and no inheritance. configparser has all three, and each of them has
broken somebody's secret.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from bothost.errors import Problem
from bothost.text import shown

_BLANKS = " \t"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_WORD = re.compile(r"[^\W\d][\w-]*")


@dataclass(slots=True)
class IniItem:
    """One `key = value`: the value's lines joined, without the blanks around each."""

    key: str
    text: str
    line: int


@dataclass(slots=True)
class IniSection:
    """One `[name]` with its items in the order of the file, and its problems."""

    name: str
    line: int
    items: dict[str, IniItem] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class IniDocument:
    """All sections by name. `problems` are those that belong to no section."""

    file: str
    sections: dict[str, IniSection] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse(content: bytes, file: str) -> IniDocument:
    """Parse any bytes. It never raises, because each fault becomes a problem."""
    document = IniDocument(file)
    text = _decode(content, document)
    if text is not None:
        _IniReader(document).read(text)
    return document


def _decode(content: bytes, document: IniDocument) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        document.problems.append(Problem(f"the text is {what}: save the file as UTF-8", document.file, line))
        return None


class _IniReader:
    """Reads the lines once, and holds the section and the item that are being read."""

    def __init__(self, document: IniDocument) -> None:
        self.document = document
        self.section: IniSection | None = None
        self.item: IniItem | None = None
        self.more: list[str] = []

    def read(self, text: str) -> None:
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.removesuffix("\r")
            first = line[:1]
            if first in ";#" and first:
                continue
            if not line.strip(_BLANKS):
                self.more.append("")
            elif first in _BLANKS:
                self._continue(line, number)
            else:
                self._end_item()
                self._begin(line, number)
        self._end_item()

    def _begin(self, line: str, number: int) -> None:
        if line[0] == "[":
            self._header(line.rstrip(_BLANKS), number)
        else:
            self._assign(line, number)

    def _continue(self, line: str, number: int) -> None:
        if self.item is None:
            self._wrong("begins with a blank, which continues a value, but there is no value above it", number)
            return
        self.more.append(self._seen(line.strip(_BLANKS), number))

    def _end_item(self) -> None:
        if self.item is not None and any(self.more):
            self.item.text = "\n".join([self.item.text, *self.more]).strip("\n")
        self.item = None
        self.more.clear()

    def _header(self, line: str, number: int) -> None:
        name = line[1:-1].strip(_BLANKS)
        if line[-1] != "]" or len(line) < 3 or not name or _UNSEEN.search(name):
            self.section = None
            problem = (
                "the section's name holds an invisible control character"
                if _UNSEEN.search(line)
                else "the section's name must stand alone between [ and ]; a remark needs a line of its own"
            )
            self.document.problems.append(Problem(problem, self.document.file, number))
            return
        known = self.document.sections.get(name)
        self.section = IniSection(name, number)
        if known is None:
            self.document.sections[name] = self.section
        else:
            self.section.problems = known.problems
            known.problems.append(
                self._problem(f"the section is given twice: first in line {known.line}", number, name)
            )

    def _assign(self, line: str, number: int) -> None:
        key, equals, value = line.partition("=")
        key = key.strip(_BLANKS)
        if not equals:
            colon = (
                ": write key = value" if ":" in line else ": expected key = value, [section] or a remark after ; or #"
            )
            self._wrong(f"cannot be understood{colon}", number)
            return
        if not key.isascii():
            key = unicodedata.normalize("NFKC", key)  # as Python does with the names of a plugin's settings
        if not _WORD.fullmatch(key):
            self._wrong(f"{shown(key)} is not a key: a key is one word of letters, digits and _", number)
            return
        if self.section is None:
            where = (
                "a section whose name is wrong" if self.document.sections or self.document.problems else "no section"
            )
            self._wrong(f"{shown(key)} is in {where}: put it below [host], [bot] or [bot:NAME]", number)
            return
        self._add(self.section, IniItem(key, self._seen(value.strip(_BLANKS), number), number))

    def _add(self, section: IniSection, item: IniItem) -> None:
        self.item = item
        known = section.items.setdefault(item.key, item)
        if known is not item:
            text = f"the key is given twice: first in line {known.line}"
            section.problems.append(self._problem(text, item.line, section.name, item.key))

    def _seen(self, value: str, number: int) -> str:
        if _UNSEEN.search(value):
            self._wrong("holds an invisible control character", number)
        return value

    def _wrong(self, text: str, number: int) -> None:
        section = self.section
        target = self.document.problems if section is None else section.problems
        target.append(self._problem(text, number, section.name if section else ""))

    def _problem(self, text: str, number: int, section: str, key: str = "") -> Problem:
        return Problem(text, self.document.file, number, section, key)
