"""Find the messages in the code, and English that is left in a Russian text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import bothost
from bothost import errors
from bothost.language import RUSSIAN

CORE = Path(bothost.__file__).parent
SAID = (
    *sorted((CORE / "cli").glob("*.py")), *sorted((CORE / "config").glob("*.py")),
    *sorted((CORE / "plugins" / "settings").glob("*.py")),
    *(CORE / name for name in (
        "cli/dev/command.py", "cli/dev/session.py", "plugins/discovery.py", "plugins/loading.py", "plugins/timers.py",
        "plugins/hook_methods.py", "plugins/job_methods.py", "operator/bulk.py", "operator/outlook.py", "operator/presence.py",
        "journal/transitions.py", "journal/moving.py", "journal/copying.py", "journal/values.py", "bots/lifecycle.py",
    )),
)  # fmt: skip
"""The modules whose messages a person reads from the commands."""
RAISES = tuple(sorted(path for path in CORE.rglob("*.py") if path not in SAID and "testing" not in path.parts))
"""The other modules. What they raise is the reason of a failed event, or of a host that does not start."""
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type)} - {"RequestRefused"} | {
    "wrong", "_wrong", "_refused", "PermissionError",
}  # fmt: skip
"""What makes an error that a person reads. RequestRefused is for programs; a TypeError stands in an author's traceback."""
NO_MESSAGE = {
    "cli/bulk.py": r"7 events to",
    "cli/help.py": r"\(\?:\^",
    "cli/host_client.py": r", from 7",
    "cli/commands.py": r".*\.$",  # the lines of --help, which test_help.py compares
    "cli/rehearse_child.py": "",
    "cli/sandbox.py": "",
    "cli/deliveries.py": r"%m-|\nrequest: |not stored yet|no longer kept",
    "cli/doctor_checks.py": r"(bot|login of|events of) 7| since|, off|7 7 at|in failed|only 7|7 s 7",
    "cli/export.py": r'"""A recorded',
    "cli/output.py": r"uid ",
    "cli/pause.py": r"by 7|7 on 7",
    "cli/rehearse.py": r"no body|timers",
    "cli/send.py": r" of %H|a list, whose|the plain value|--set '7': there is nothing",
    "cli/tick.py": r"is failed",
    "config/__init__.py": r"\[bot:NAME\] or",
    "config/across_bots.py": r"\[bot:7\], line",
    "config/dsn.py": r"is not a",
    "config/ini.py": r"a section whose|no section|'7' is in",
    "config/invisible.py": r"\{",
    "config/secrets.py": r"this\[|<hidden",
    "config/units.py": r"'7' is neither",
    "config/values.py": "",
    "plugins/discovery.py": r"has 7 bytes|is no file|its 7 7",
    "plugins/hook_methods.py": r"def |\{.*\}$|the request's key|7: the guard|7: once",
    "plugins/job_methods.py": r"def ",
    "plugins/loading.py": r"(class|def) |an instance|\[bot:|\{.*\}$|7 is 7",
    "plugins/timers.py": r"def |\{.*\}$",
    "plugins/settings/__init__.py": r"default value",
    "plugins/settings/limits.py": r"must have|more than|at |less than|a multiple|7 must",
    "plugins/settings/reading.py": r"<secret",
    "host/journal_use.py": r"is empty, and the last|the journal 7",
    "host/process_setup.py": r"7 7: look who",
    "journal/postgres/journal.py": r".* is written by `save`",
    "plugins/handlers.py": r"7: ('7' gives|7 is the) ",
    "pyrus/model/lookup.py": r"7 has no field|7, and not by",
    "pyrus/reply/field_updates.py": r"True or False|a number$|the table 7|the table '7'",
    "pyrus/reply/values.py": r"True or False|one of 7",
    "pyrus/rest/definitions.py": r"7: '7' is no 7",
    "pyrus_client/api.py": r"7; and the",
    "pyrus_client/session.py": r"7: \[bot:7\] 7 no login",
    "operator/outlook.py": r"post of the reply|found by|last change",
    "operator/presence.py": r"\{journal",
    "journal/copying.py": r"7 has 7",
    "journal/moving.py": r"7 open|1 open|7 for|bot = |\{new\} \|\||not exists|update|insert",
    "journal/values.py": r"add works|7 cannot be added|'7' cannot be added|a 7 cannot|7 7 cannot|the key '7' of an|cannot be added|.*a value is what JSON",
    "journal/transitions.py": r"host died|sent again|%H",
    "bots/lifecycle.py": r"paused |7 at",
}
"""What stands in these modules and is no message: help, code, words that are looked up, parts of the messages below."""
# fmt: off
WORDS_OF_CODE = frozenset({
    "add", "and", "answer_within", "answer_reply", "anyone", "audit", "bot", "bots", "bothost", "cancel", "catch", "cd", "certfile",
    "check", "chmod", "classmethod", "command", "concurrency", "copy", "cron", "curl", "demo", "digest", "dict", "doctor", "env",
    "error_choice", "error_text", "every", "failed", "file", "forms", "handle", "hook", "hooks", "host", "http", "https", "id", "ini",
    "install", "journal", "json", "keep", "list", "login", "loopback", "max_body", "move", "ms", "name", "new", "no", "operator_token",
    "parse", "per_host", "pip", "plugin", "posting", "process", "public_url", "pytest", "readyz", "reload", "reply", "restart", "resume", "run",
    "secret", "send", "serve", "settings", "show", "signed", "socket", "state", "store", "sudo", "task", "timedelta", "text", "token",
    "trusted_proxies", "user", "value", "yes",
})
"""Keys, commands and Pyrus's and Python's words, which stay as they are in a Russian text."""
WORDS_OF_PYTHON = frozenset({
    "accounts", "after", "at", "base", "bool", "bytes", "chown", "code", "date", "datetime", "expires", "filters", "guid", "hex", "lambda", "once",
    "or", "steps", "str", "tuple", "update",
})
"""Python's words and arguments, in what an author is told."""
# fmt: on


def english_left(text: str) -> list[str]:
    """The words of a text that are neither code nor a name."""
    code = (
        r"`[^`]*`|'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\S*@\S*|bothost [a-z ]+|[a-z_]+ = \S+|\S*[=@:/.\\%_{(]\w\S*|--?\w[\w-]*"
    )
    words = re.findall(r"[A-Za-z]+", re.sub(code, " ", text))
    return [word for word in words if word.islower() and len(word) > 1 and word not in WORDS_OF_CODE]


@lru_cache(maxsize=1)
def nodes_of(path: Path) -> list[ast.AST]:
    """Everything in a module."""
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """The texts with a blank in a module that are no docstring, help or log line, each place filled with 7."""
    skipped: set[int] = set()
    found: list[tuple[int, str, int]] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            found.append((node.lineno, filled(node), id(node)))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
            ("click.", "log.", "deliveries.", "journal.command", "store.command")
        ):
            skipped |= {
                id(inner) for part in [*node.args, *(key.value for key in node.keywords)] for inner in ast.walk(part)
            }
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append((node.lineno, node.value, id(node)))
    yield from ((line, text) for line, text, key in found if key not in skipped and " " in text.strip())


def raised_in(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module's own errors."""
    lines: set[int] = set()
    if not re.search(rf"\b({'|'.join(OURS)})\(", path.read_text("utf-8")):
        return
    for node in nodes_of(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
            lines |= {getattr(part, "lineno", 0) for part in ast.walk(node)}
    yield from ((line, text) for line, text in texts_of(path) if line in lines)


def filled(text: ast.JoinedStr) -> str:
    """An f-string as it may come out: 7 at each place, nothing behind a word, where something more may stand."""
    out = ""
    for part in text.values:
        if isinstance(part, ast.Constant):
            out += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            code = ast.unparse(part.value)
            counted = re.match(r"counted\([^']*'(\w+)'(?:, '(\w+)')?\)", code)
            quoted = part.conversion == ord("r") or code.startswith("shown(")
            value = f"7 {counted[2] or counted[1] + 's'}" if counted else "'7'" if quoted else "7"
            value = "failed" if re.search(r"\bstate\b", code) and "states" not in code else value
            out += "" if out[-1:].isalpha() or out[-2:-1] + out[-1:] in ("']", "')") else value
    return out


def untranslated(path: Path) -> list[str]:
    """The messages of a module that have no Russian."""
    excepted = NO_MESSAGE.get(str(path.relative_to(CORE)))
    return [
        f"{path.relative_to(CORE)}:{line}: {text!r} → {translated!r}: {english}"
        for line, text in (texts_of if path in SAID else raised_in)(path)
        if excepted is None or not re.match(excepted, text)
        if (english := english_left(translated := RUSSIAN.message(RUSSIAN.text(text.strip()))))
        if path in SAID or not WORDS_OF_PYTHON.issuperset(english)
    ]
