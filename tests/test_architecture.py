"""The rules that a machine keeps: layers, sizes, what an import may do, who may ask the time, who may catch everything."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "bothost"
OURS = sorted(
    [*CORE.rglob("*.py"), *(path for folder in ("plugins", "examples") for path in (ROOT / folder).glob("*/*/*.py"))]
)
SOURCES = [path for path in OURS if "tests" not in path.relative_to(ROOT).parts]
MODULES = sorted(
    ".".join(path.relative_to(CORE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in CORE.rglob("*.py")
)
NOT_FOR_IMPORT = {"bothost.__main__"}
"""Modules that are programs: to import them is to run them."""

BROAD = {
    "runners/eager.py": "hands what a call raised in its first step to the asyncio task that takes it up",
    "http_server/connection.py": "around an application, whose fault becomes a 500",
    "host/event_loop.py": "around the loop of the host, which plugins share and which goes on",
    "host/serve.py": "around the whole host: what ended it is logged before the process leaves",
    "pipeline/journal_poller.py": "around one event at its beginning, in a background loop that goes on",
    "pipeline/late_replies.py": "around one try to post, in a background loop that goes on",
    "bots/lifecycle.py": "around the loop that brings a bot into service and tries again",
    "host/workers/siblings.py": "around one message in the loop that listens to other processes",
    "background.py": "around a background loop or job, which is started again",
    "operator/failure_hook.py": "around a plugin: the hook on_failure",
    "operator/trouble_hook.py": "around a plugin: the hook on_trouble",
    "runners/process/log_forwarding.py": "around a plugin: the `__str__` of what it logs in its own process",
    "telemetry/logs.py": "around a plugin: the `__str__` of what it logs",
    "plugins/loading.py": "around a plugin's import and its class",
    "plugins/discovery.py": "around what an installed distribution of any program holds",
    "plugins/run_hooks.py": "around a plugin's hook beside a run",
    "bots/loader.py": "around the loading of a bot: no thread, no memory; such a bot is tried again",
    "telemetry/host_loggers.py": "around a plugin: a log handler that it has added",
    "telemetry/traces.py": "around a plugin: the attributes of its exceptions",
    "text.py": "around a plugin: the `__str__` of its exceptions",
    "runners/calls.py": "around a plugin's handler",
    "pipeline/runs.py": "around a plugin's run: no thread, no memory; such a run has failed like any other",
    "pipeline/hooks.py": "around a plugin's run: no thread, no memory; the caller gets an answer and the permit comes back",
    "runners/local.py": "around a mapping of a plugin's own, when the reply is read",
    "runners/own_calls.py": "around a mapping of a plugin's own, when a job's reply is read",
    "plugins/settings/reading.py": "around a plugin's own `parse`",
    "journal/sqlite/writer.py": "around one job of the background loop that writes for all",
    "journal/postgres/batching.py": "around one round trip of the background loop; those who wait are told",
    "testing/virtual_time/loop.py": "hands what a handler's thread raised to the one who waits for it",
}
"""Files that may catch every Exception: around a plugin, or around a loop that must go on."""

CLOCKS = {"clock.py", *(f"testing/virtual_time/{name}.py" for name in ("loop", "outstanding", "sleep"))}
"""Where time is made: the system's clock, and the harness's, which must know real time to stand still in it."""

ASKS_TIME = {
    ("time", name)
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")
}
ASKS_DATE = {("datetime", name) for name in ("now", "utcnow", "today")} | {("date", "today")}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400, "a module stops at 400 lines"
    long = [
        f"{node.name} ({size} lines)"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (size := length(node)) > 40
    ]
    assert not long, "a function stops at 40 lines"


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    documented = ast.get_docstring(node) is not None and len(node.body) > 1
    first = node.body[1].lineno if documented else node.lineno
    return (node.end_lineno or first) - first + 1


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_asks_the_time_itself(path: Path) -> None:
    if path.is_relative_to(CORE) and str(path.relative_to(CORE)) in CLOCKS:
        return
    asked = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            pair = (node.value.id, node.attr)
            if pair in ASKS_TIME | ASKS_DATE or node.attr == "PeriodicCallback":
                asked.append(f"line {node.lineno}: {'.'.join(pair)}")
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            taken = [alias.name for alias in node.names if ("time", alias.name) in ASKS_TIME]
            asked.extend(f"line {node.lineno}: from time import {name}" for name in taken)
    assert not asked, "all time comes from clock.Clock"


def test_only_a_plugin_and_a_background_loop_are_surrounded_by_a_broad_except() -> None:
    found: dict[str, list[int]] = {}
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and catches_all(node):
                found.setdefault(str(path.relative_to(CORE if path.is_relative_to(CORE) else ROOT)), []).append(
                    node.lineno
                )
    assert found.keys() == BROAD.keys(), f"`except Exception` is for a plugin and for a background loop: {found}"


def test_each_broad_except_has_its_reason_beside_it() -> None:
    wrong = []
    for name in BROAD:
        lines = (CORE / name).read_text("utf-8").splitlines()
        for node in ast.walk(parsed(CORE / name)):
            if isinstance(node, ast.ExceptHandler) and catches_all(node):
                head = lines[node.lineno - 1 : node.body[0].lineno]
                wrong += [f"{name}:{node.lineno}"] if not any("# " in line for line in head) else []
    assert not wrong


def catches_all(handler: ast.ExceptHandler) -> bool:
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False  # a clean-up on the way out: what was raised goes on
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds)


def test_imports_point_down() -> None:
    """Also proves that each module has a place in the layers."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


LOOK = """
import importlib, json, os, sys, threading
for library in filter(None, sys.argv[1].split(",")):
    importlib.import_module(library)
def handles():
    return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}
for module in sys.argv[2:]:
    if os.fork():  # a child imports, so that each module meets an interpreter that has imported nothing of bothost
        _, status = os.wait()
        sys.exit(f"{module} cannot be imported alone") if status else None
        continue
    before = handles()
    importlib.import_module(module)
    opened = sorted(target for fd, target in handles().items() if fd not in before and not target.startswith("/proc/"))
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print(json.dumps({"module": module, "opened": opened, "threads": threads, "modules": sorted(sys.modules)}), flush=True)
    os._exit(0)
"""


LIBRARIES = (
    "aiohttp",
    "asyncpg",
    "click",
    "ctypes",  # Python 3.14 on a newer Debian: libffi keeps its own file open
    "msgspec",
    "prometheus_client",
    "rich.console",
    "sqlite3",
    "tornado.httpserver",
)
"""Most of an import's time is theirs."""


def imported(*modules: str, after: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What an interpreter holds after importing each of the modules, and before them the libraries of `after`."""
    command = [sys.executable, "-W", "error", "-c", LOOK, ",".join(after), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_import_opens_no_thread_no_socket_and_no_file() -> None:
    looked_at = [name for name in MODULES if name not in NOT_FOR_IMPORT]
    held = imported(*looked_at, after=LIBRARIES)
    assert [one["module"] for one in held] == looked_at
    assert not [one["module"] for one in held if one["threads"] or one["opened"]]


def test_importing_bothost_stays_light() -> None:
    heavy = {"click", "rich", "prometheus_client", "sqlite3", "pytest", "tornado", "asyncpg", "uvloop", "aiohttp"}
    assert heavy.isdisjoint(imported("bothost")[0]["modules"])


def test_importing_the_pytest_plugin_brings_neither_tornado_nor_the_core() -> None:
    modules = set(imported("bothost.testing.pytest_plugin")[0]["modules"])
    assert "tornado" not in modules
    assert not [name for name in modules if name.startswith("bothost.") and not name.startswith("bothost.testing")]


def test_the_exported_names_are_the_names_there_are() -> None:
    import bothost

    # pytest rewrites the asserts of plugins, bothost among them, and leaves names such as @pytest_ar there
    public = {name for name in vars(bothost) if not name.startswith(("_", "@"))}
    submodules = {name for name in public if f"bothost.{name}" in sys.modules and name not in bothost.__all__}
    assert len(bothost.__all__) == len(set(bothost.__all__))
    assert set(dir(bothost)) >= set(bothost.__all__)
    assert public - submodules - {"annotations"} <= set(bothost.__all__)
    for name in bothost.__all__:
        assert getattr(bothost, name) is not None


def test_type_checkers_are_told_the_same_names_of_the_same_modules() -> None:
    import bothost

    stub = ast.parse((CORE / "__init__.pyi").read_text("utf-8"))
    told = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == {name: f"bothost.{home}" for name, home in bothost._HOME_OF.items()}


ROOT_MODULES = {"__init__", "__main__", "background", "clock", "errors", "text"}
"""The modules that stand beside the packages; every other module belongs to one of them."""


def test_the_root_holds_packages_and_few_modules() -> None:
    assert {path.stem for path in CORE.glob("*.py")} == ROOT_MODULES


def test_the_picture_of_the_packages_is_the_codes() -> None:
    spec = importlib.util.spec_from_file_location("package_map", ROOT / "docs" / "package_map.py")
    assert spec is not None
    assert spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    assert drawing.PICTURE.read_text("utf-8") == drawing.picture(), "run: python docs/package_map.py"


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in CORE.rglob("*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(path.relative_to(CORE)))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}, (
        "a reader must know which one is meant"
    )


def test_docstrings_say_what_is_done_or_given_back() -> None:
    question = r"(What|Whether|How|Who)\b"
    noun = r"(The|An?|All|Those|These|Each|One|True|False|As|From|Of|For|Which|Raises)\b"
    asking = []
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                refused = question if isinstance(node, ast.ClassDef) else f"{question}|{noun}"
                if re.match(refused, ast.get_docstring(node) or ""):
                    asking.append(f"{name_of(path)}:{node.lineno}")
    assert not asking, "a docstring says what is done or given back, in which shape and unit; it asks and names nothing"


def test_plugins_import_nothing_of_bothost_but_its_front() -> None:
    wrong = []
    for path in sorted([*(ROOT / "plugins").glob("*/**/*.py"), *(ROOT / "examples").glob("*/**/*.py")]):
        for node in ast.walk(parsed(path)):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            allowed = (
                {"bothost", "bothost.testing", "bothost.testing.fake_pyrus.faults"}
                if "tests" in path.parts
                else {"bothost"}
            )
            wrong += [
                f"{name_of(path)}: {name}" for name in names if name.split(".")[0] == "bothost" and name not in allowed
            ]
    assert not wrong


def test_the_tree_speaks_of_nobodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git work tree")
    marks = ["TO" + "DO", "FIX" + "ME", "/wo" + "rk/", "/tmp/" + "bash", ".lib" + "rary"]
    wrong = []
    for name in listed:
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        wrong += [f"{name}: {mark}" for mark in marks if mark in text]
    assert not wrong
