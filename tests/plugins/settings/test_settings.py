"""A section's texts become the author's typed values, or every error at once with what would be right."""

from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest

from bothost.config.secrets import SecretSources
from bothost.errors import ConfigError, PluginError
from bothost.plugins.settings import Secret, Settings, SettingsSource, fill, keys, no_settings
from bothost.plugins.settings.field_names import FieldName


class Speed(Enum):
    FAST = "fast"
    SLOW = 2


class Colour:
    def __init__(self, word: str) -> None:
        self.word = word

    @classmethod
    def parse(cls, text: str) -> "Colour":
        if text == "crash":
            raise KeyError(text)
        if text not in ("red", "blue"):
            raise ValueError(f"{text} is not a colour: write red or blue")
        return cls(text)


FormId = NewType("FormId", int)
FOLDER = Path("/etc/bots")
SOURCES = SecretSources(FOLDER, {"KEY": "a key of the environment", "BLANK": " "})
PLACE = SettingsSource("approvals", "bot:a", "bots.ini", {"limit": 7, "limti": 8}, 5)


def read(hint: Any, value: object) -> Any:
    """One setting of this type."""
    cls = type("Rules", (Settings,), {"__annotations__": {"limit": hint}})
    return fill(cls, {"limit": value}, PLACE, SOURCES).limit


def error(hint: Any, value: object) -> str:
    with pytest.raises(ConfigError) as raised:
        read(hint, value)
    (problem,) = raised.value.problems
    assert (problem.file, problem.line, problem.section, problem.key) == ("bots.ini", 7, "bot:a", "limit")
    return problem.text


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, "any text; 100 %", "any text; 100 %"), (str, "", ""), (int, "15", 15), (int, "-100 000", -100000),
        (float, "0.5", 0.5), (Decimal, "100 000.50", Decimal("100000.50")), (Decimal, "1\u00a0000", Decimal(1000)),
        (bool, "yes", True), (bool, "Off", False), (bool, "1", True), (timedelta, "15m", timedelta(minutes=15)),
        (timedelta, "1h 30m", timedelta(minutes=90)), (time, "09:30", time(9, 30)), (date, "2026-01-31", date(2026, 1, 31)),
        (Speed, "fast", Speed.FAST), (Speed, "2", Speed.SLOW), (Literal["a", 5], "a", "a"), (Literal["a", 5], "5", 5),
        (int | None, "", None), (int | None, "5", 5), (int | str, "5", 5), (int | str, "x", "x"), (list[int], "1, 2,3", [1, 2, 3]),
        (tuple[int, ...], "1\n2, 3", (1, 2, 3)), (set[str], "a,b, a", {"a", "b"}), (list[str], "Moscow, RU\nPerm, RU", ["Moscow, RU", "Perm, RU"]),
        (list[str], "a, b,\nc", ["a", "b", "c"]), (list[str], "", []), (tuple[str, int], "a, 5", ("a", 5)), (list[int] | None, "", None),
        (dict[str, Decimal], "rent = 5.5\nfood=3", {"rent": Decimal("5.5"), "food": Decimal(3)}), (dict[str, str], "a = b = c", {"a": "b = c"}),
        (dict[str, int], "", {}), (Path, "data/x.csv", FOLDER / "data/x.csv"), (Path, "/abs", Path("/abs")), (FormId, "5", 5),
        (tuple[Speed, ...], "fast, 2\nfast", (Speed.FAST, Speed.SLOW, Speed.FAST)), (list[Literal["a", 5]], "a, 5\na", ["a", 5, "a"]),
        (list[FormId], "1, 2\n3", [1, 2, 3]), (list[int | None], "1, 2\n3", [1, 2, 3]), (list[Literal["a, b", "c"]], "a, b\nc", ["a, b", "c"]),
        (list[Annotated[int, msgspec.Meta(ge=1)]], "1, 2\n3", [1, 2, 3]),
        (Annotated[int, msgspec.Meta(ge=1, le=10)], "10", 10), (Annotated[Decimal, msgspec.Meta(gt=0)], "0.1", Decimal("0.1")),
    ],
)  # fmt: skip
def test_a_text_becomes_the_declared_type(hint: Any, text: str, value: object) -> None:
    found = read(hint, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "part"),
    [
        (int, "1.5", "'1.5' is not a whole number"), (int, "", "'' is not a whole number"), (int, "٣", "not a whole number"),
        (float, "0,5", "'0,5' is not a number: write a point, not a comma"), (float, "nan", "'nan' is not a number"),
        (float, "1e999", "too large"), (Decimal, "Infinity", "is not a number"), (bool, "maybe", "'maybe' is neither yes nor no"),
        (timedelta, "15", "'15' is not a duration: it needs a unit, as in 15s"), (time, "9:30", "'9:30' is not a time: write 09:30"),
        (time, "25:00", "'25:00' is not a time"), (date, "31.01.2026", "'31.01.2026' is not a date: write 2026-01-31"),
        (date, "2026-02-30", "not a date"), (Speed, "fats", "'fats' is none of fast, 2 (did you mean 'fast'?)"),
        (Literal["yes", "no"], "yess", "'yess' is none of yes, no (did you mean 'yes'?)"), (list[int], "1, x", "'x' is not a whole number"),
        (tuple[str, int], "a", "has 1 items: write 2"), (dict[str, int], "a", "'a' is not of the form `key = value`"),
        (dict[str, int], "a=1\na=2", "'a' is given twice"), (dict[str, int], "a=x", "a: 'x' is not a whole number"),
        (Path, "", "names no file"), (Secret, "", "is empty"), (Secret, "env:BLANK", "is empty"),
        (Secret, "env:KEI", "the environment has no variable KEI (did you mean 'KEY'?)"), (Secret, "file:none", "cannot read"),
        (Colour, "green", "green is not a colour: write red or blue"), (Colour, "crash", "'crash' cannot be read: KeyError"),
        (Annotated[int, msgspec.Meta(ge=1, le=10)], "11", "11 must be at most 10"),
        (Annotated[int, msgspec.Meta(ge=1)], "0", "0 must be at least 1"),
        (Annotated[str, msgspec.Meta(min_length=3)], "ab", "must have at least 3 characters"),
        (Annotated[str, msgspec.Meta(pattern="^a")], "b", "must match ^a"),
        (Annotated[list[int], msgspec.Meta(max_length=1)], "1,2", "must have at most 1 items"),
        (Annotated[Secret, msgspec.Meta(min_length=20)], "short literal", "must have at least 20 characters"),
        (Annotated[Secret, msgspec.Meta(pattern="^sk-")], "env:KEY", "must match ^sk-"),
    ],
)  # fmt: skip
def test_a_wrong_text_is_an_error_that_says_what_would_be_right(hint: Any, text: str, part: str) -> None:
    assert part in error(hint, text)


class Rules(Settings):
    limit: Decimal = Decimal(100_000)
    chief: str
    api_key: Secret
    Город: str = "Пермь"  # noqa: PLC2401 - a key of bots.ini is the user's own word


def test_fields_may_stand_in_any_order_and_have_any_name() -> None:
    rules = fill(Rules, {"chief": "x", "api_key": "env:KEY", "Город": "Москва"}, PLACE, SOURCES)
    assert (rules.limit, rules.chief, rules.Город) == (Decimal(100_000), "x", "Москва")
    assert keys(Rules) == ("limit", "chief", "api_key", "Город")
    with pytest.raises(AttributeError):
        rules.chief = "y"  # type: ignore[misc]


def test_all_errors_of_a_section_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        fill(
            Rules,
            {"limti": "5", "limit": "x", "timout": "1", "api_key": "env:NONE"},
            PLACE,
            SOURCES,
            frozenset({"timeout"}),
        )
    assert str(raised.value).splitlines() == [
        "bots.ini:8: [bot:a] limti: no such key, and no setting of the plugin 'approvals' (did you mean 'limit'?)",
        "bots.ini:7: [bot:a] limit: 'x' is not a number",
        "bots.ini:5: [bot:a] timout: no such key, and no setting of the plugin 'approvals' (did you mean 'timeout'?)",
        "bots.ini:5: [bot:a] api_key: the environment has no variable NONE",
        "bots.ini:5: [bot:a] chief: is missing: the plugin 'approvals' needs this setting",
    ]


def test_a_secret_shows_itself_to_nobody_but_who_asks(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key of a file\n", "utf-8")
    sources = SecretSources(tmp_path, {})
    rules = fill(Rules, {"chief": "x", "api_key": "file:key"}, PLACE, sources)
    assert rules.api_key.reveal() == "a key of a file"
    shown = f"{rules} {rules.api_key} {rules.api_key!r}"
    assert "a key" not in shown
    assert rules.api_key.fingerprint in repr(rules)
    assert str(rules.api_key) == repr(rules.api_key)


def test_an_error_in_a_secret_does_not_show_it() -> None:
    bad = "literal with a lone surrogate \udcff"
    assert "literal" not in error(Secret, bad)


@pytest.mark.parametrize(
    ("hint", "value", "found"),
    [
        (Decimal, 500, Decimal(500)), (Decimal, 0.1, Decimal("0.1")), (float, 1, 1.0), (int, 5, 5), (list[int], [1, "2"], [1, 2]),
        (set[int], (1, 2), {1, 2}), (timedelta, timedelta(1), timedelta(1)), (Speed, Speed.SLOW, Speed.SLOW), (Speed, 2, Speed.SLOW),
        (dict[str, int], {"a": 1, "b": "2"}, {"a": 1, "b": 2}), (int | None, None, None), (Path, Path("x"), FOLDER / "x"),
        (bool, True, True), (Secret, Secret("s"), Secret("s")),
    ],
)  # fmt: skip
def test_tests_give_settings_as_python_values(hint: Any, value: object, found: object) -> None:
    assert read(hint, value) == found


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, 1.5), (int, True), (str, 5), (Decimal, True), (list[int], 5), (dict[str, int], 5), (int, None), (Path, 5), (Secret, 5), (Colour, 5)],
)  # fmt: skip
def test_a_python_value_of_a_wrong_type_is_an_error_too(hint: Any, value: object) -> None:
    assert error(hint, value)


def test_a_type_that_no_setting_can_have_is_the_authors_error() -> None:
    with pytest.raises(PluginError, match="plugin 'approvals': setting 'limit': no setting can be of type bytes"):
        read(bytes, "x")


def test_a_limit_that_does_not_fit_its_type_is_the_authors_error() -> None:
    with pytest.raises(PluginError, match=r"setting 'limit': no limit such as .*ge=5.* fits a timedelta"):
        read(Annotated[timedelta, msgspec.Meta(ge=5)], "15m")


def test_a_limit_of_a_secret_shows_nothing_of_it() -> None:
    assert read(Annotated[Secret, msgspec.Meta(min_length=20)], "env:KEY").reveal() == "a key of the environment"
    assert "literal" not in error(Annotated[Secret, msgspec.Meta(min_length=20)], "a literal key")
    with pytest.raises(PluginError) as caught:
        read(Annotated[Secret, msgspec.Meta(ge=20)], "a literal key")
    assert "literal" not in str(caught.value)


def test_types_that_only_the_type_checker_knows_are_the_authors_error() -> None:
    class Lost(Settings):
        limit: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(PluginError, match=r"types of .*Lost cannot be read: .*Nowhere"):
        fill(Lost, {}, PLACE, SOURCES)


def test_a_mutable_default_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match="for a default use a tuple instead of a list"):

        class Bad(Settings):
            forms: list[int] = [1, 2]  # noqa: RUF012 - that is what is refused


def test_what_the_class_itself_finds_wrong_is_an_error_of_the_section() -> None:
    class Range(Settings):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(ConfigError, match=r"bots.ini:5: \[bot:a\] low is above high"):
        fill(Range, {"low": "5", "high": "1"}, PLACE, SOURCES)


def test_a_class_inherits_settings() -> None:
    class More(Rules):
        extra: int

    assert fill(More, {"chief": "x", "api_key": "literal key", "extra": "1"}, PLACE, SOURCES).extra == 1


def test_a_plugin_without_settings_takes_none() -> None:
    no_settings({}, PLACE)
    with pytest.raises(ConfigError, match="limit: no such key, and no setting of the plugin 'approvals'"):
        no_settings({"limit": "5"}, PLACE)


class Untyped(Settings):
    greeting = "Hello"
    days = 5
    longest: int = 7

    def helper(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("greeting", "Untyped gives greeting no type, so it is no setting: write greeting: str = 'Hello'"),
        ("days", "write days: int = 5"),
        ("helper", "no such key"),
        ("longst", "did you mean 'longest'?"),
    ],
)
def test_a_name_without_a_type_says_what_to_write(key: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        fill(Untyped, {key: "x"}, SettingsSource("p"), SecretSources(Path(), {}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("hint", "default", "said"),
    [
        (timedelta, "15m", "Rules.limit has a text for its default: write a timedelta"),
        (Decimal, "5.50", "write a Decimal"),
        (Speed, "fast", "write a Speed"),
        (Path | None, "template.txt", "write a Path"),
        (tuple[int, ...], "1 2", "write a tuple"),
        (Secret, "a-key", "write a Secret"),
        (Colour, "red", "write a Colour"),
        (int, "many", "Rules.limit has a default that does not fit: 'many' is not a whole number"),
        (Literal["post", "get"], "put", "has a default that does not fit: 'put' is none of post, get"),
    ],
)
def test_a_text_as_the_default_of_another_type_is_the_authors_error(hint: Any, default: str, said: str) -> None:
    cls = type("Rules", (Settings,), {"__annotations__": {"limit": hint}, "limit": default})
    with pytest.raises(PluginError) as error:
        fill(cls, {}, PLACE, SOURCES)
    assert said in str(error.value)
    assert "a-key" not in str(error.value)


@pytest.mark.parametrize(
    "hint", [str, str | None, FieldName, Literal["post", "get"], Annotated[str, msgspec.Meta(max_length=9)]]
)
def test_a_text_is_a_good_default_of_a_text(hint: Any) -> None:
    cls = type("Rules", (Settings,), {"__annotations__": {"limit": hint}, "limit": "post"})
    assert fill(cls, {}, PLACE, SOURCES).limit == "post"
