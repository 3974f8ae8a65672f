"""Rules decide, and say why."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from approvals import Approvals, Rules
from approvals.rules import parse_rule
from approvals.words import WORDS
from bothost.testing import field, task

if TYPE_CHECKING:
    from bothost import Reply
    from bothost.testing import Harness

RULES = """
reject when Supplier is empty : no supplier is named
approve when Amount <= 100000 and Budgeted is checked
ask chief@corp.ru when Amount > 1000000
reassign 5014 when Department in Sales|Marketing
"""


def answered(bothost: Harness, rules: str = RULES, **fields: Any) -> Reply | None:
    values: dict[str, Any] = {
        "Supplier": "ACME",
        "Amount": field(500, type="money"),
        "Budgeted": field(True, type="checkmark"),
        "Department": "IT",
    }
    values.update(fields)
    bot = bothost.bot(Approvals, form=321, rules=rules)
    return bot.deliver(task(form_id=321, step=2, fields=values)).reply


def test_the_first_rule_that_holds_decides_and_says_why(bothost: Harness) -> None:
    reply = answered(bothost)
    assert reply is not None
    assert reply.approval_choice == "approved"
    assert reply.text == "Approved: Amount 500 ≤ 100000; Budgeted is checked."


def test_a_reason_of_ones_own_takes_the_place_of_the_conditions(bothost: Harness) -> None:
    reply = answered(bothost, Supplier="")
    assert reply is not None
    assert (reply.approval_choice, reply.text) == ("rejected", "Rejected: no supplier is named.")


def test_asking_adds_the_person_to_the_step_and_gives_the_bots_approval(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, rules=RULES)
    given = task(
        form_id=9,
        step=2,
        fields={
            "Supplier": "A",
            "Amount": Decimal(2_000_000),
            "Budgeted": field(False, type="checkmark"),
            "Department": "IT",
        },
    )
    answer = bot.deliver(given)
    assert answer.json["approvals_added"] == [[], [{"email": "chief@corp.ru"}]]
    assert answer.json["approval_choice"] == "approved"
    assert "2\u00a0000\u00a0000 > 1000000" in answer.json["text"]


def test_reassigning_puts_the_person_in_the_bots_place(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, rules="reassign 5014 when Department in Sales|Marketing")
    answer = bot.deliver(task(step=1, fields={"Department": "marketing"}))
    assert answer.json["approvals_added"] == [[{"id": 5014}]]
    assert answer.json["approvals_removed"] == [[{"id": bot.person["id"]}]]
    assert "approval_choice" not in answer.json


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("approve when F <= 5", "Согласовано: F 3 ≤ 5."),
        ("reject when G is empty", "Отклонено: поле G не заполнено."),
        ("reject when F is not empty : сумма уже есть", "Отклонено: сумма уже есть."),
        ("ask chief@corp.ru when H = yes and H is checked", "Решает chief@corp.ru: H да = yes; H — отмечено."),
        ("reassign 5014 when F is not empty", "Передано 5014: F — 3."),
        ("approve", "Согласовано: другие правила не подошли."),
    ],
)
def test_the_comment_is_in_the_language_that_the_settings_name(bothost: Harness, rule: str, said: str) -> None:
    bot = bothost.bot(Approvals, rules=rule, language="ru")
    answer = bot.deliver(task(step=1, fields={"F": 3, "G": "", "H": field(True, type="checkmark")}))
    assert answer.reply is not None
    assert answer.reply.text == said


def test_each_language_has_the_same_words() -> None:
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS["en"])}


def test_where_no_rule_holds_a_person_decides(bothost: Harness) -> None:
    assert answered(bothost, Amount=field(200_000, type="money")) is None


def test_it_is_silent_where_it_is_not_asked(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, form=321, step=3, rules="approve")
    assert bot.deliver(task(form_id=321)).reply is None
    assert bot.deliver(task(form_id=322, step=3)).reply is None
    assert bot.deliver(task(form_id=321, step=2)).reply is None
    assert bot.deliver(task(form_id=321, step=3)).reply is not None


def test_a_rule_about_a_field_that_is_not_there_decides_nothing(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, rules="approve when Amuont <= 5")
    answer = bot.deliver(task(step=1, fields={"Amount": 3}))
    assert answer.status == 500
    assert "'Amuont'" in str(answer.error)


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("approve when F = 5", 5, True),
        ("approve when F = 5,5", Decimal("5.5"), True),
        ("approve when F != 5", 6, True),
        ("approve when F < 1 000", 999, True),
        ("approve when F >= 10", 9, False),
        ("approve when F > 5", "many", False),
        ("approve when F contains ACME", "the acme company", True),
        ("approve when F in a|b | c", "C", True),
        ("approve when F in a|b", "d", False),
        ("approve when F is empty", "", True),
        ("approve when F is not empty", "x", True),
        ("approve when F is checked", True, True),
        ("approve when F is not checked", False, True),
        ("approve when F = yes", "Yes", True),
    ],
)
def test_conditions(bothost: Harness, rule: str, value: Any, holds: bool) -> None:
    bot = bothost.bot(Approvals, rules=rule)
    assert (bot.deliver(task(step=1, fields={"F": value})).reply is not None) == holds


def test_dates_compare_as_dates(bothost: Harness) -> None:
    bot = bothost.bot(Approvals, rules="approve when Due <= 2026-12-31")
    assert bot.deliver(task(step=1, fields={"Due": field("2026-05-01", type="date")})).reply is not None
    assert bot.deliver(task(step=1, fields={"Due": field("2027-05-01", type="date")})).reply is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one rule"),
        ("aprove when A = 1", "does not begin with one of"),
        ("ask when A = 1", "needs a person"),
        ("approve chief@corp.ru", "expected `when`"),
        ("approve when A", "is not a condition"),
    ],
)
def test_a_wrong_rule_says_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rules.parse(text)


def test_names_with_operators_stand_in_quotes() -> None:
    rule = parse_rule("approve when \"Profit and loss\" > 0 and 'A = B' is empty")
    assert [condition.field for condition in rule.conditions] == ["Profit and loss", "A = B"]


def test_the_fault_matrix_is_passed(bothost: Harness) -> None:
    bothost.faults(Approvals, rules="approve")


@pytest.mark.parametrize("blank", ["", " ", "\u00a0", "\u200b", "\u202f\ufeff"])
def test_a_field_with_nothing_that_can_be_seen_is_empty(bothost: Harness, blank: str) -> None:
    reply = answered(bothost, Supplier=blank)
    assert reply is not None
    assert "no supplier is named" in str(reply.text)


@pytest.mark.parametrize(
    "rule", ["approve when Amount <= lots", "approve when Amount < NaN", "approve when Due >= 31.03.2026"]
)
def test_less_and_more_need_a_number_or_a_date(rule: str) -> None:
    with pytest.raises(ValueError, match="neither a number"):
        parse_rule(rule)


@pytest.mark.parametrize("rule", ["Amount <= 1,000", "Amount = 100,000", "Amount in 5 | 1,000"])
def test_a_comma_that_may_be_thousands_or_thousandths_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="thousands or thousandths"):
        parse_rule(f"approve when {rule}")
    assert parse_rule('approve when Amount = "1,000"').conditions[0].value == "1,000"
    assert parse_rule("approve when Amount <= 1000,50").conditions[0].value == "1000,50"
    assert parse_rule("approve when Share <= 0,125").conditions[0].value == "0,125"


def test_a_very_long_field_is_cut_in_the_explanation(bothost: Harness) -> None:
    reply = answered(bothost, "approve when Supplier is not empty", Supplier="x" * 100_000)
    assert reply is not None
    assert len(str(reply.text)) < 500
