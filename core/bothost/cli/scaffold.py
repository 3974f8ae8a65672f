"""What `bothost new` makes: names that will work everywhere, and the files of a distribution around them. No I/O here."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from bothost.errors import UsageError
from bothost.language import ENGLISH, RUSSIAN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bothost.language import Language

NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
LONGEST = 64
RESERVED = frozenset({"bothost", "test", "tests", "src", "state"})

FILES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "bots.ini": "bots.ini.txt",
    ".gitignore": "gitignore.txt",
    "$package/__init__.py": "plugin.py.txt",
    "tests/test_$package.py": "test_plugin.py.txt",
}


@dataclass(frozen=True, slots=True)
class ProjectNames:
    """One bot's names: `name` for pip, entry point and bots.ini, `package` for Python's import, `plugin` for its class."""

    name: str
    package: str
    plugin: str


@dataclass(frozen=True, slots=True)
class RecordedDelivery:
    """A recorded delivery that the made test delivers, and the form of its task (None: a simple task)."""

    body: bytes
    form_id: int | None


def names(name: str, taken: Callable[[str], bool]) -> ProjectNames:
    """Check a name, or refuse it with a better one. `taken` tells whether a package or plugin of a name is installed.

    Raises UsageError.
    """
    why = _objection(name, taken)
    if why:
        raise UsageError(f"{name!r} {why}: try `bothost new {_better(name, taken)}`")
    return ProjectNames(name, name.replace("-", "_"), "".join(part.title() for part in re.split("[-_]", name)))


def files(
    of: ProjectNames,
    *,
    secret: str,
    version: str,
    recorded: RecordedDelivery | None = None,
    language: Language = ENGLISH,
) -> dict[str, bytes]:
    """Path → content of everything that is made, with README and remarks in a language."""
    form = recorded.form_id if recorded is not None else None
    values = {
        "name": of.name,
        "package": of.package,
        "plugin": of.plugin,
        "secret": secret,
        "version": version,
        "form": str(form),
        "form_line": "" if form is None else f"form = {form}\n",
        "form_row": "" if form is None else f"| `form` | {language.text('the form whose tasks it answers')} | |\n",
        "settings": "" if form is None else f", form={form}",
    }
    chosen = dict(FILES)
    if language == RUSSIAN:
        chosen["README.md"] = "README.ru.md.txt"
    if form is not None:
        chosen["$package/__init__.py"] = "recorded_form.py.txt"
    if recorded is not None:
        chosen["tests/test_$package.py"] = "test_recorded.py.txt"
    made = {Template(path).substitute(values): _render(source, values) for path, source in chosen.items()}
    made["bots.ini"] = _remarked(made["bots.ini"].decode(), language).encode()
    made[f"{of.package}/py.typed"] = b""
    if recorded is not None:
        made["tests/delivery.json"] = recorded.body
    return made


def _objection(name: str, taken: Callable[[str], bool]) -> str:
    package = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        return "is not a name for a package and a section of bots.ini (small letters, digits, single hyphens, a letter first)"
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return "is a word of Python's own"
    if package in RESERVED or package in sys.stdlib_module_names:
        return "is the name of a module that Python or bothost needs"
    if taken(name):
        return "is the name of an installed package or plugin"
    return ""


def _better(name: str, taken: Callable[[str], bool]) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()
    base = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[: LONGEST - 8].strip("-")
    if base and base[0].isdigit():
        base = f"bot-{base}"
    candidates = [base, f"{base}-bot", f"my-{base}-bot", *(f"{base}-bot-{number}" for number in range(2, 100))]
    if not base:
        candidates = ["my-bot", *(f"my-bot-{number}" for number in range(2, 100))]
    return next(candidate for candidate in candidates if not _objection(candidate, taken))


def _render(source: str, values: Mapping[str, str]) -> bytes:
    text = resources.files("bothost.cli").joinpath("templates", "new", source).read_text("utf-8")
    return Template(text).substitute(values).encode()


def _remarked(ini: str, language: Language) -> str:
    """Return a bots.ini with its remarks in a language."""
    return re.sub("(?m)(?<=^; ).*", lambda remark: language.text(remark[0]), ini)


def is_taken(installed: Collection[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a name belongs to an installed distribution, package or plugin, in any spelling."""
    known = {_same(name) for name in installed}
    return lambda name: _same(name) in known


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
