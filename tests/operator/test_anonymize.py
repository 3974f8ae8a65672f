"""An export names nobody: one mask for one thing, everywhere; ids, mail domains and free texts stay."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from bothost.operator.anonymize import Anonymizer

ANNA = {"id": 1041, "first_name": "Анна", "last_name": "Громова", "email": "a.gromova@corp.ru", "type": "user",
        "phone": "+7 495 000 00 01", "position": "Менеджер", "external_id": "5d3b2c11"}  # fmt: skip
BOT = {"id": 900100, "first_name": "Invoice bot", "last_name": "", "email": "bot@3f1c", "type": "bot"}


@pytest.fixture
def delivery() -> dict[str, Any]:
    return {
        "event": "comment",
        "access_token": "very-secret-token",
        "bot_settings": '{"key": "hidden-key", "limit": 5}',
        "task_id": 5,
        "user_id": 900100,
        "task": {
            "id": 5,
            "text": "Счёт 12",
            "author": ANNA,
            "form_id": 1,
            "approvals": [[{"person": BOT, "approval_choice": "waiting"}]],
            "fields": [
                {"id": 1, "type": "email", "name": "E-mail", "value": "seller@shop.com"},
                {"id": 2, "type": "phone", "name": "Телефон", "value": "79990000000,104"},
                {"id": 3, "type": "person", "name": "Куратор", "value": ANNA},
                {"id": 4, "type": "text", "name": "Предмет", "value": "Бумага для Анна Громова"},
                {"id": 5, "type": "money", "name": "Сумма", "value": 12.50},
                {"id": 6, "type": "title", "name": "Раздел", "value": {"fields": [
                    {"id": 7, "type": "email", "name": "Ещё", "value": "a.gromova@corp.ru"}]}},
                {"id": 8, "type": "file", "name": "Скан", "value": [
                    {"id": 70, "name": "scan.pdf", "md5": "AB", "url": "https://pyrus.com/services/attachment?id=70"}]},
            ],
            "comments": [
                {"id": 9, "author": ANNA, "text": "Пишите на seller@shop.com или a.gromova@corp.ru",
                 "channel": {"type": "email", "from": {"email": "client@mail.ru", "name": "Клиент Иванов"}, "phone": "7900"}},
            ],
        },
    }  # fmt: skip


def masked(delivery: dict[str, Any], **options: bool) -> tuple[Anonymizer, dict[str, Any]]:
    masks = Anonymizer(**options)
    return masks, masks.body(json.dumps(delivery, ensure_ascii=False).encode())


def test_nothing_that_names_a_person_is_left(delivery: dict[str, Any]) -> None:
    _, body = masked(delivery)
    text = json.dumps(body, ensure_ascii=False, default=str)
    for real in ("very-secret-token", "hidden-key", "Анна", "Громова", "a.gromova", "+7 495", "Менеджер", "5d3b2c11",
                 "seller@", "79990000000", "client@", "Клиент", "attachment?id=70", '"7900"'):  # fmt: skip
        assert real not in text


def test_ids_domains_amounts_and_free_texts_stay(delivery: dict[str, Any]) -> None:
    _, body = masked(delivery)
    task = body["task"]
    assert task["author"]["id"] == 1041
    assert task["author"]["email"].endswith("@corp.ru")
    assert task["text"] == "Счёт 12"
    assert task["fields"][3]["value"].startswith("Бумага для ")
    assert task["fields"][4]["value"] == Decimal("12.5")
    assert task["approvals"][0][0]["person"] == BOT, "a bot is nobody, and its login is recognised by its e-mail"
    assert json.loads(body["bot_settings"]) == {"key": "masked", "limit": 5}


def test_the_same_thing_has_the_same_mask_everywhere(delivery: dict[str, Any]) -> None:
    masks, body = masked(delivery)
    task = body["task"]
    mail = task["author"]["email"]
    assert task["fields"][2]["value"]["email"] == mail
    assert task["fields"][5]["value"]["fields"][0]["value"] == mail
    assert task["comments"][0]["text"].endswith(f"или {mail}")
    seller = task["fields"][0]["value"]
    assert seller in task["comments"][0]["text"]
    reply = masks.reply({"text": "Hello, a.gromova@corp.ru.", "approval_choice": "approved"})
    assert reply == {"text": f"Hello, {mail}.", "approval_choice": "approved"}


def test_texts_are_replaced_where_asked(delivery: dict[str, Any]) -> None:
    _, body = masked(delivery, texts=True)
    text = json.dumps(body, ensure_ascii=False, default=str)
    assert "Счёт" not in text
    assert "Бумага" not in text
    assert body["task"]["fields"][0]["name"] == "E-mail", "names of fields are the form's"


def test_where_texts_are_replaced_a_reply_keeps_the_bots_own_words(delivery: dict[str, Any]) -> None:
    masks, body = masked(delivery, texts=True)
    title, mail = body["task"]["text"], body["task"]["author"]["email"]
    assert title.startswith("Text")
    assert masks.reply({"text": "Paid: Счёт 12, a.gromova@corp.ru."}) == {"text": f"Paid: {title}, {mail}."}


def test_a_body_without_anything_to_mask_stays_as_it_is() -> None:
    assert Anonymizer().body(b'{"task_id": 1, "task": {"id": 1, "x": null}}') == {
        "task_id": 1,
        "task": {"id": 1, "x": None},
    }


def test_file_names_and_signed_addresses_are_replaced_and_endings_stay() -> None:
    signed = "https://files.pyrus.com/services/attachment?Id=7&sig=abcdef0123456789"
    given = {
        "attachments": [
            {"id": 7, "name": "Contract of Anna Gromova.pdf", "size": 12, "url": signed},
            {"id": 8, "name": "scan", "size": 1, "md5": "00", "url": signed, "preview_url": signed + "&p=1"},
        ],
        "text": f"see {signed}.",
        "formatted_text": f'<a href="{signed}">here</a>',
    }
    told = json.dumps(Anonymizer().body(json.dumps({"task": given}).encode()))
    assert "Gromova" not in told
    assert "sig=" not in told
    assert ".pdf" in told
