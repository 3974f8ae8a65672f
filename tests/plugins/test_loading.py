"""Entry points become plugins with settings, or an error that says who, what, where and what would be right."""

from __future__ import annotations

import inspect
import os
import re
import sys
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

from bothost import Event, Plugin, Reply, Settings, every, on
from bothost.config import BotConfig
from bothost.errors import ConfigError, PluginError
from bothost.plugins.attribution import innermost_of
from bothost.plugins.discovery import find, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from bothost.plugins.loading import LoadedPlugin

GREETER = """
    from bothost import Reply
    def greet(event):
        return Reply("hi")
"""


class Rules(Settings):
    form: int = 321
    several: tuple[int, ...] = (1, 2)
    kind: str = "close"
    note: str = ""


def event_of(form: int | None = None, step: int = 0, kind: str = "comment", current: int | None = None) -> Event:
    task = SimpleNamespace(form_id=form, current_step=current)
    return SimpleNamespace(task=task, step=step, kind=kind)  # type: ignore[return-value]


def failure(plug: Callable[..., LoadedPlugin], target: Any, **settings: Any) -> str:
    with pytest.raises(PluginError) as error:
        plug(target, **settings)
    return str(error.value)


def test_an_installed_function_is_found_and_loaded(install: Any, load_installed: Any) -> None:
    install("dist-a", "hello = mod_a:greet", mod_a=GREETER)
    plugged = load_installed("hello")
    assert (plugged.name, plugged.distribution, plugged.version) == ("hello", "dist-a", "1.5")
    assert plugged.settings is None
    assert plugged.handler_for(event_of()).call(None) == Reply("hi")


def test_finding_imports_nothing(install: Any) -> None:
    install("dist-b", "unwanted = mod_never:x", mod_never="raise SystemExit(1)")
    found = find()["unwanted"]
    assert (found.distribution, found.version, found.target) == ("dist-b", "1.5", "mod_never:x")
    assert "mod_never" not in sys.modules


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are(install: Any, load_installed: Any) -> None:
    install("dist-c", "refunds = mod_c:greet", mod_c=GREETER)
    with pytest.raises(PluginError) as error:
        load_installed("refund")
    text = str(error.value)
    assert text.startswith(
        r"[bot:a] asks for the plugin 'refund', which is not installed (did you mean 'refunds'?) (installed: "
    )
    assert "refunds" in text.rpartition("installed: ")[2]


def test_two_distributions_with_one_name_are_an_error_that_names_both(install: Any, load_installed: Any) -> None:
    install("dist-d", "twin = mod_d:greet\nonly = mod_d:greet", mod_d=GREETER)
    install("dist-e", "twin = mod_e:greet", mod_e=GREETER)
    with pytest.raises(
        PluginError, match=r"plugin 'twin', which dist-d and dist-e both offer|dist-e and dist-d both offer"
    ):
        load_installed("twin")
    assert load_installed("only").distribution == "dist-d"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' ("),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "mod_bad.py:1)"),
        ("\ndef broken(:", "mod_bad.py:2)"),
        ("class PanicException(BaseException): pass\nraise PanicException('a panic')", "PanicException: a panic ("),
        ("raise KeyboardInterrupt", "KeyboardInterrupt ("),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError ("),
        ("raise GeneratorExit", "mod_bad.py:1)"),
        (
            "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
            "its text cannot be had, ValueError",
        ),
    ],
)
def test_a_plugin_that_cannot_be_imported_says_why_and_where(
    install: Any, load_installed: Any, source: str, part: str
) -> None:
    install("dist-bad", "bad = mod_bad:greet", mod_bad=source)
    with pytest.raises(PluginError) as error:
        load_installed("bad")
    assert "[bot:a] plugin 'bad' (dist-bad 1.5, mod_bad:greet) cannot be imported: " in str(error.value)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("mod_leave:Leave", "mod_leave has no 'Leave' (did you mean 'LeaveBot'?) (there are: limit_of, LeaveBot): "),
        ("mod_leave:LeaveBot.chek", "LeaveBot has no 'chek' (did you mean 'check'?)"),
        ("mod_leaf:LeaveBot", "there is no module 'mod_leaf': "),
        ("mod_leave.inner:LeaveBot", "there is no module 'mod_leave.inner': "),
    ],
)
def test_an_entry_point_that_leads_nowhere_says_what_is_there_and_what_to_do(
    install: Any, load_installed: Any, target: str, part: str
) -> None:
    source = """
        import json
        def limit_of(event): ...
        class LeaveBot:
            def check(self): ...
    """
    install("dist-leave", f"leave = {target}", mod_leave=source)
    with pytest.raises(PluginError) as error:
        load_installed("leave")
    assert f"{target}) cannot be imported: {part}" in str(error.value)
    assert '[project.entry-points."bothost.plugins"]' in str(error.value)
    assert "run `pip install -e .` again" in str(error.value)


@pytest.mark.parametrize(
    ("points", "metadata", "part"),
    [
        (b"[other.group]\na line without an equals sign\n", b"Name: other-tool\nVersion: 1\n", "other-tool"),
        (b"[bothost.plugins]\nx = a:b\n", None, "other_tool"),
        (b"[bothost.plugins]\n\xff\xfe = a:b\n", b"Name: other-tool\nVersion: 1\n", "other-tool"),
        (b"[bothost.plugins]\nx = a:b\n", b"Name: \xff\xfe\nVersion: 1\n", "malformed"),
    ],
)
def test_a_malformed_distribution_of_any_program_is_named_and_hides_no_other(
    install: Any, load_installed: Any, tmp_path: Path, points: bytes, metadata: bytes | None, part: str
) -> None:
    install("dist-fine", "fine = mod_fine:greet", mod_fine=GREETER)
    info = tmp_path / "site" / "other_tool-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(points)
    if metadata is not None:
        (info / "METADATA").write_bytes(b"Metadata-Version: 2.1\n" + metadata)
    assert load_installed("fine").distribution == "dist-fine"
    (told,) = survey().unreadable
    assert part in told
    assert str(info) in told


@pytest.mark.parametrize(("name", "part"), [
    ("METADATA", "its METADATA is no file"), ("entry_points.txt", "its entry_points.txt is no file"),
    ("", "its entry_points.txt has 100000 bytes"),
])  # fmt: skip
def test_metadata_that_would_never_be_read_to_its_end_are_not_opened(
    install: Any, load_installed: Any, tmp_path: Path, name: str, part: str
) -> None:
    """A pipe waits for ever, and thousands of entry points take minutes."""
    install("dist-fine", "fine = mod_fine:greet", mod_fine=GREETER)
    info = tmp_path / "site" / "other_tool-1.0.dist-info"
    info.mkdir()
    if name:
        os.mkfifo(info / name)
    else:
        (info / "entry_points.txt").write_text("x" * 100_000)
    assert load_installed("fine").distribution == "dist-fine"
    (told,) = survey().unreadable
    assert part in told
    assert str(info) in told


@dataclass
class PlainRules:
    form: int = 321


class Quoted(Plugin["PlainRules"]):  # type: ignore[type-var]
    pass


class WithDataclass(Plugin[PlainRules]):  # type: ignore[type-var]
    pass


class WithNested(Plugin):
    @dataclass
    class Settings:
        form: int = 321


@pytest.mark.parametrize("target", [Quoted, WithDataclass, WithNested])
def test_settings_of_another_kind_are_refused_with_what_to_write(
    plug: Callable[..., LoadedPlugin], target: type[Any]
) -> None:
    told = failure(plug, target)
    assert "not a subclass of bothost.Settings" in told
    assert "(Settings):`" in told


class HidesSettings(Plugin[Rules]):
    @on(form=1)
    def settings(self, event: Event) -> None: ...  # type: ignore[override]


class HidesStoreAndLog(Plugin[Rules]):
    log = 5  # type: ignore[assignment]
    store = {}  # type: ignore[var-annotated,assignment]  # noqa: RUF012


@pytest.mark.parametrize(("target", "names"), [(HidesSettings, "settings"), (HidesStoreAndLog, "log, store")])
def test_a_member_that_would_hide_the_hosts_own_is_refused(
    plug: Callable[..., LoadedPlugin], target: type[Any], names: str
) -> None:
    told = failure(plug, target)
    assert f"{target.__name__} defines {names}, which every plugin has from bothost; use another name" in told
    assert f"({__file__}:" in told


class NoPlugin:
    pass


class Constructed(Plugin[Rules]):
    def __init__(self) -> None: ...


class WrongHandler(Plugin[Rules]):
    @on(form=1)
    def check(self) -> None: ...  # type: ignore[type-var]


class WrongHandle(Plugin[Rules]):
    def handle(self) -> None: ...  # type: ignore[override]


class WrongOpen(Plugin[Rules]):
    def open(self, path: str) -> None: ...  # type: ignore[override]


class NoSuchSetting(Plugin[Rules]):
    @on(form="settings.fomr")
    def check(self, event: Event) -> None: ...


class WrongKindOfSetting(Plugin[Rules]):
    @on(form="settings.kind")
    def check(self, event: Event) -> None: ...


class Taken(Settings):
    timeout: str = ""
    secret: str = ""


class TakesHostKeys(Plugin[Taken]): ...


class Dotted(Settings, rename={"rate": "limits.rate"}):
    rate: int = 5


class TakesALaterKey(Plugin[Dotted]): ...


def decorated() -> Any:
    @on(form=1)
    def greet(self: Any, event: Event) -> None: ...

    return greet


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (NoPlugin, "is the class NoPlugin, which is not a subclass of bothost.Plugin"),
        (Plugin, "is the class Plugin"),
        (5, "is 5; the entry point must name a function or a subclass of bothost.Plugin"),
        (None, "is None;"),
        (sys, "is a module;"),
        (Constructed, "Constructed has a constructor (__init__); a plugin starts in `open`"),
        (WrongHandler, "WrongHandler.check cannot be called: write def check(self, event)"),
        (WrongHandle, "WrongHandle.handle cannot be called: write def handle(self, event)"),
        (WrongOpen, "WrongOpen.open cannot be called: write def open(self)"),
        (NoSuchSetting, "NoSuchSetting.check: @on(form=): there is no setting 'fomr' (did you mean 'form'?)"),
        (WrongKindOfSetting, "@on(form=): 'settings.kind' gives 'close', which is not a number"),
        (TakesHostKeys, "its settings secret, timeout have names of the host's own keys"),
        (TakesALaterKey, "its settings limits.rate hold a point, which later keys of the host's own have"),
        (lambda: None, "cannot be called: write def <lambda>(event)"),
        (decorated(), "@on, @cron, @every, @job and @hook are for methods"),
    ],
)
def test_a_plugin_of_the_wrong_shape_says_what_would_be_right(
    plug: Callable[..., LoadedPlugin], target: Any, part: str
) -> None:
    text = failure(plug, target)
    assert text.startswith("[bot:a] plugin 'p'")
    assert part in text
    if inspect.isfunction(target) or (inspect.isclass(target) and target is not Plugin):
        line = re.search(rf" \({re.escape(__file__)}:(\d+)\)$", text)
        assert line, "it does not say where the plugin's own code stands"
        whole, first = inspect.getsourcelines(target)
        assert 0 <= int(line[1]) - first < len(whole)


class Idle(Plugin): ...


def test_a_plugin_that_never_does_anything_is_warned_of(plug: Callable[..., LoadedPlugin]) -> None:
    (told,) = plug(Idle).warnings
    assert told.startswith(
        "Idle does nothing: it has no `handle` and no method with @on, @cron, @every, @job or @hook ("
    )
    assert f"{__file__}:{inspect.getsourcelines(Idle)[1]})" in told
    assert plug(Sample).warnings == ()


def test_an_error_inside_a_library_stands_in_the_last_line_of_the_plugin(tmp_path: Path) -> None:
    trace = trace_through(tmp_path / "own/bot.py", tmp_path / "site-packages/lib/call.py")
    assert innermost_of(trace) == f"{tmp_path}/own/bot.py:2"


def test_of_a_plugin_that_is_installed_the_line_is_in_its_own_package(tmp_path: Path) -> None:
    trace = trace_through(tmp_path / "site-packages/bot/run.py", tmp_path / "site-packages/lib/call.py")
    assert innermost_of(trace) == f"{tmp_path}/site-packages/bot/run.py:2"


def trace_through(plugin: Path, library: Path) -> TracebackType | None:
    """Raise in a library's function that a plugin calls in its second line."""
    inner: dict[str, Any] = {"__name__": "lib.call"}
    exec(compile('def get():\n    raise OSError("refused")\n', str(library), "exec"), inner)
    outer: dict[str, Any] = {"__name__": f"{plugin.parent.name}.{plugin.stem}", "get": inner["get"]}
    exec(compile("def run():\n    get()\n", str(plugin), "exec"), outer)
    with pytest.raises(OSError, match="refused") as raised:
        outer["run"]()
    trace = raised.value.__traceback__
    return trace.tb_next if trace is not None else None


def test_an_instance_is_refused_with_its_class(plug: Callable[..., LoadedPlugin]) -> None:
    instance = Sample.__new__(Sample)
    assert "is an instance of Sample" in failure(plug, instance)


class Sample(Plugin[Rules]):
    @on(form="settings.several", step=2)
    def at_two(self, event: Event) -> str:
        return "at_two"

    @on(kind="settings.kind")
    @on(form="settings.form")
    async def either(self, event: Event) -> str:
        return "either"

    @on(kind="comment")
    def comment(self, event: Event) -> str:
        return "comment"


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (event_of(1, 2), "at_two"), (event_of(2, 2, "close"), "at_two"), (event_of(3, 2, "close"), "either"),
        (event_of(321, 2), "either"), (event_of(1, 1, "task_received"), "handle"), (event_of(1, 0, "x", current=2), "at_two"),
        (event_of(1, 3, "x", current=2), "handle"), (event_of(), "comment"), (event_of(kind=""), "comment"),
    ],
)  # fmt: skip
def test_the_first_handler_whose_conditions_all_match_wins(
    plug: Callable[..., LoadedPlugin], event: Event, name: str
) -> None:
    assert plug(Sample).handler_for(event).name == name


def test_settings_are_filled_and_read_by_the_decorators(plug: Callable[..., LoadedPlugin]) -> None:
    plugged = plug(Sample, form="5", note="x")
    assert plugged.instance.settings == plugged.settings == Rules(form=5, note="x")
    assert plugged.handler_for(event_of(5, 1, "x")).name == "either"
    assert plugged.handler_for(event_of(321, 1, "x")).name == "handle"


def test_wrong_settings_are_errors_of_the_section(plug: Callable[..., LoadedPlugin]) -> None:
    with pytest.raises(ConfigError, match=r"bots.ini:3: \[bot:a\] form: 'x' is not a whole number"):
        plug(Sample, form="x")


def test_a_function_has_no_settings(plug: Callable[..., LoadedPlugin]) -> None:
    with pytest.raises(ConfigError, match="greeting: no such key, and no setting of the plugin 'p'"):
        plug(lambda event: None, greeting="x")


S = TypeVar("S", bound=Settings)


class Middle(Plugin[S], Generic[S]): ...


class Below(Middle[Rules]): ...


class Nested(Plugin):  # type: ignore[type-arg]
    class Settings(Settings):
        form: int = 7


@pytest.mark.parametrize(("cls", "form"), [(Below, 321), (Nested, 7)])
def test_the_settings_class_is_found_wherever_it_is_said(
    plug: Callable[..., LoadedPlugin], cls: Any, form: int
) -> None:
    assert plug(cls).instance.settings.form == form


def test_each_bot_has_an_instance_of_its_own(plug: Callable[..., LoadedPlugin]) -> None:
    assert plug(Sample).instance is not plug(Sample).instance


async def greet(event: Event, word: str = "") -> str:
    return word


class Callable_:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("target", "is_async"),
    [(greet, True), (partial(greet, word="x"), True), (Callable_(), True), (lambda event: None, False), (lambda event: greet(event), False)],
)  # fmt: skip
def test_async_is_seen_through_partials_and_callable_objects(
    plug: Callable[..., LoadedPlugin], target: Any, is_async: bool
) -> None:
    assert plug(target).fallback.is_async is is_async


def test_open_and_close_are_only_called_where_they_are_written(plug: Callable[..., LoadedPlugin]) -> None:
    assert plug(Sample).opening is None

    class Opens(Sample):
        async def open(self) -> None: ...

    plugged = plug(Opens)
    assert plugged.opening is not None
    assert plugged.opening.is_async
    assert plugged.closing is None


class Timed(Plugin[Rules]):
    @every("15m")
    def sweep(self) -> None: ...


def test_timers_without_a_login_earn_a_warning(plug: Callable[..., LoadedPlugin]) -> None:
    assert "has timers (sweep) and no login" in plug(Timed).warnings[0]
    assert plug(Timed, BotConfig(name="a", plugin="p", login="bot@x")).warnings == ()


def test_what_the_plugins_own_code_raises_while_it_is_loaded_is_its_error(plug: Callable[..., LoadedPlugin]) -> None:
    class Explosive(Settings):
        def __post_init__(self) -> None:
            raise KeyError("lost")

    class Bad(Plugin[Explosive]): ...

    assert "cannot be loaded: KeyError: 'lost'" in failure(plug, Bad)


def test_a_host_keys_name_is_refused_with_what_to_do(plug: Callable[..., LoadedPlugin]) -> None:
    assert "gives to the host: rename them in Taken (" in failure(plug, TakesHostKeys)


def test_annotations_may_name_what_is_imported_for_type_checkers_only(install: Any, load_installed: Any) -> None:
    # from 3.14 on they are read when somebody asks for them, and without the line below too
    lazily = "" if sys.version_info >= (3, 14) else "from __future__ import annotations"
    module = f"""
        {lazily}
        from typing import TYPE_CHECKING
        from bothost import Plugin, every, on
        if TYPE_CHECKING:
            from bothost import Event, Reply, Tick
        class Hinted(Plugin):
            @on(form=1)
            def check(self, event: Event) -> Reply: ...
            @every("1h")
            def remind(self, tick: Tick) -> None: ...
        def greet(event: Event) -> Reply: ...
    """
    install("dist-hinted", "hinted = mod_hinted:Hinted\ngreet = mod_hinted:greet", mod_hinted=module)
    assert load_installed("hinted").timers[0].takes_tick
    assert load_installed("greet").fallback.name == "greet"
