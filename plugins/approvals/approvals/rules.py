"""Parse the rules of bots.ini and judge tasks by them. Errors say what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from approvals.words import WORDS, Language
from bothost import CatalogItems, Choice, Person

if TYPE_CHECKING:
    from bothost import Task

Action = Literal["approve", "reject", "reassign", "ask"]
ACTIONS: tuple[Action, ...] = ("approve", "reject", "reassign", "ask")

_RULE = re.compile(
    r"(?P<action>\w+)(?:\s+(?P<who>(?!when\b)\S+))?(?:\s+when\s+(?P<when>.+?))?(?:\s+:\s*(?P<reason>.*))?\Z", re.DOTALL
)
_STATE = re.compile(r"""(?P<field>".+?"|'.+?'|.+?)\s+is\s+(?P<not>not\s+)?(?P<state>empty|checked)\Z""")
_COMPARED = re.compile(
    r"""(?P<field>".+?"|'.+?'|.+?)\s*(?P<op><=|>=|!=|=|<|>|\bcontains\b|\bin\b)\s*(?P<value>.+)\Z""", re.DOTALL
)
_UNCLEAR = re.compile(r"(?:\A|\|)\s*[-+]?[1-9]\d{0,2},\d{3}\s*(?:\Z|\|)")
"""A number whose comma is a decimal one in some countries, and groups thousands in others."""
_BLANKS = " \t\r\n\v\f\u00a0\u202f\u200b\u200c\u200d\u2060\ufeff"
"""The values that a person who looks at a field takes for nothing."""
_LONGEST_SHOWN = 300
"""Characters of a field that a comment explains a decision with."""
_SIGNS = {"<=": "≤", ">=": "≥", "!=": "≠"}


@dataclass(frozen=True)
class Verdict:
    """The result of a condition, and the reason in words."""

    holds: bool
    words: str


@dataclass(frozen=True)
class Condition:
    """`FIELD OP VALUE`, or `FIELD is [not] empty|checked`."""

    field: str
    op: str
    value: str = ""

    def judge(self, task: Task, language: Language = "en") -> Verdict:
        """Judge a task. A comparison with an empty field, or with something that is not a number, does not hold."""
        value, words = task.value(self.field), WORDS[language]
        if self.op in ("checked", "not checked"):
            found = "checked" if value is True else "not checked"
            return Verdict(found == self.op, words[found].format(field=self.field))
        found = "empty" if is_empty(value) else "not empty"
        if self.op in ("empty", "not empty") or found == "empty":
            return Verdict(found == self.op, words[found].format(field=self.field, value=explained(value, language)))
        sign = _SIGNS.get(self.op, self.op)
        return Verdict(self._compare(value), f"{self.field} {explained(value, language)} {sign} {self.value}")

    def _compare(self, value: Any) -> bool:
        if self.op == "contains":
            return self.value.casefold() in shown(value).casefold()
        if self.op == "in":
            return any(equal(value, one.strip()) for one in self.value.split("|"))
        if self.op in ("=", "!="):
            return equal(value, self.value) == (self.op == "=")
        left, right = ordered(value, self.value)
        if left is None or right is None:
            return False
        return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[self.op])


@dataclass(frozen=True)
class Rule:
    """`ACTION [WHO] [when CONDITION [and CONDITION]…] [: reason]`; without conditions it always holds."""

    text: str
    action: Action
    who: str = ""
    conditions: tuple[Condition, ...] = ()
    reason: str = ""

    def judge(self, task: Task, language: Language = "en") -> Verdict:
        """Judge all conditions, which must all hold. The words name each."""
        verdicts = [condition.judge(task, language) for condition in self.conditions]
        words = "; ".join(verdict.words for verdict in verdicts) or WORDS[language]["otherwise"]
        return Verdict(all(verdict.holds for verdict in verdicts), self.reason or words)


@dataclass(frozen=True)
class Rules:
    """Rules in their order. The first that holds decides."""

    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, text: str) -> Rules:
        """Parse one rule a line. Raises ValueError for the first wrong one."""
        rules = tuple(parse_rule(line.strip()) for line in text.splitlines() if line.strip())
        if not rules:
            raise ValueError("needs at least one rule, such as: approve when Amount <= 1000")
        return cls(rules)

    def first(self, task: Task, language: Language = "en") -> tuple[Rule, str] | None:
        """Return the rule that decides and the reason, or None if none holds."""
        for rule in self.rules:
            verdict = rule.judge(task, language)
            if verdict.holds:
                return rule, verdict.words
        return None

    @property
    def fields(self) -> frozenset[str]:
        """Every field that some rule names."""
        return frozenset(condition.field for rule in self.rules for condition in rule.conditions)


def parse_rule(line: str) -> Rule:
    """Parse one line as a rule. Raises ValueError."""
    match = _RULE.fullmatch(line)
    action = match["action"] if match else ""
    if match is None or action not in ACTIONS:
        raise ValueError(f"{line!r} does not begin with one of {', '.join(ACTIONS)}")
    who = match["who"] or ""
    if action in ("ask", "reassign") and not (who.isdecimal() or "@" in who):
        raise ValueError(f"{line!r}: {action} needs a person, by e-mail or id: {action} chief@example.com when …")
    if action in ("approve", "reject") and who:
        raise ValueError(f"{line!r}: expected `when` behind {action!r}, not {who!r}")
    conditions = tuple(parse_condition(part, line) for part in split_and(match["when"] or ""))
    return Rule(line, action, who, conditions, (match["reason"] or "").strip())


def split_and(text: str) -> list[str]:
    """Split at ` and ` outside quotes."""
    parts = re.split(r"""\s+and\s+(?=(?:[^"]*"[^"]*")*[^"]*\Z)""", text) if text else []
    return [part.strip() for part in parts]


def parse_condition(text: str, line: str) -> Condition:
    """Parse one condition. Raises ValueError."""
    state = _STATE.fullmatch(text)
    if state:
        return Condition(unquoted(state["field"]), f"not {state['state']}" if state["not"] else state["state"])
    compared = _COMPARED.fullmatch(text)
    if compared is None:
        raise ValueError(
            f"{line!r}: {text!r} is not a condition; write FIELD = VALUE (or != < <= > >= contains in), "
            "or FIELD is empty, is not empty, is checked, is not checked"
        )
    operator, value = compared["op"].strip(), unquoted(compared["value"])
    if _UNCLEAR.search(compared["value"]) and operator != "contains":
        raise ValueError(
            f"{line!r}: {value!r} may be thousands or thousandths; write {value.replace(',', '')} or a text in quotes"
        )
    if operator in ("<", "<=", ">", ">=") and not has_order(value):
        raise ValueError(f"{line!r}: {value!r} is neither a number (1000, 1 000,50) nor a date (2026-03-31)")
    return Condition(unquoted(compared["field"]), operator, value)


def unquoted(text: str) -> str:
    """Remove the quotes around a text. A name with an operator inside needs them."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def is_empty(value: Any) -> bool:
    """Return whether a field counts as empty. An unticked checkmark does not."""
    if isinstance(value, str):
        return not value.strip(_BLANKS)
    if isinstance(value, CatalogItems):
        return not value.rows and not value.ids
    if isinstance(value, Choice):
        return not value.names and not value.ids
    return value is None or (isinstance(value, tuple | list | dict | set | frozenset) and not value)


def explained(value: Any, language: Language) -> str:
    """Write a value for a comment: a list of thousands is cut."""
    text = WORDS[language][shown(value)] if isinstance(value, bool) else shown(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + " …"


def shown(value: Any) -> str:
    """Write a value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal | int):
        return f"{value:,}".replace(",", "\u00a0")
    if isinstance(value, Person):
        return value.name or value.email or str(value.id)
    if isinstance(value, CatalogItems):
        return ", ".join(" ".join(str(cell) for cell in row.values()) for row in value.rows)
    if isinstance(value, Choice):
        return ", ".join(value.names)
    if isinstance(value, tuple | list):
        return ", ".join(shown(one) for one in value)
    return str(value)


def equal(value: Any, text: str) -> bool:
    """Compare a value with a rule's text: numbers and dates as such, persons by e-mail or id too, texts in any case."""
    left, right = ordered(value, text)
    if left is not None and right is not None:
        return bool(left == right)
    if isinstance(value, Person) and text.casefold() in ((value.email or "").casefold(), str(value.id)):
        return True
    if isinstance(value, Choice):
        return text.casefold() in [name.casefold() for name in value.names]
    return shown(value).strip().casefold() == text.strip().casefold()


def number(text: str) -> Decimal:
    """Read a number of a rule, with blanks or a comma in it. Raises InvalidOperation, also for NaN, which nothing equals."""
    found = Decimal(re.sub(r"[\s\u00a0_]", "", text).replace(",", "."))
    if not found.is_finite():
        raise InvalidOperation
    return found


def has_order(text: str) -> bool:
    """Return whether a rule's text is a number or a date, which alone can be less or more."""
    try:
        number(text)
    except InvalidOperation:
        try:
            date.fromisoformat(text)
        except ValueError:
            return False
    return True


def ordered(value: Any, text: str) -> tuple[Any, Any]:
    """Return both sides as numbers or dates, or (None, None) if they are neither."""
    try:
        if isinstance(value, Decimal | int) and not isinstance(value, bool):
            return Decimal(value), number(text)
        if isinstance(value, datetime):
            return value.date(), date.fromisoformat(text)
        if isinstance(value, date):
            return value, date.fromisoformat(text)
    except (InvalidOperation, ValueError):
        pass
    return None, None
