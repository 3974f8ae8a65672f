"""Mask everything in a recorded delivery that identifies people. Equal values get equal masks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

PERSON_KEYS = frozenset({"first_name", "last_name", "email"})
NAMES = frozenset({"first_name", "last_name", "native_first_name", "native_last_name", "nickname"})
PRIVATE = frozenset(
    {
        "skype",
        "external_id",
        "position",
        "department_name",
        "birth_date",
        "location",
        "status",
        "personality",
        "personnel_number",
    }
)
PHONES = frozenset({"phone", "mobile_phone", "login_phone"})
TEXTS = frozenset({"text", "formatted_text", "subject"})
TEXT_TYPES = frozenset({"text", "note"})
MASKED_TOKEN = "masked-token"  # noqa: S105 - what stands where a token stood
FILE_KEYS = frozenset({"md5", "size", "root_id", "version"})
SIGNED = re.compile(r"(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]*")
"""An address with a query, which may be a signature that opens a file to whoever has it."""
_SHORTEST = 3
"""Shorter names are not searched for in texts because they would match parts of other words."""


class Anonymizer:
    """The masks of one export. Call `body` with the delivery first, then `reply` with the expected answer."""

    def __init__(self, *, texts: bool = False) -> None:
        self._texts = texts
        self._masks: dict[tuple[str, str], str] = {}

    def body(self, body: bytes) -> dict[str, Any]:
        """Decode a delivery's body and mask it: first by key, then the values found so wherever a text repeats them."""
        delivery = json.loads(body, parse_float=Decimal)
        if delivery.get("access_token"):
            delivery["access_token"] = MASKED_TOKEN
        if delivery.get("bot_settings"):
            delivery["bot_settings"] = self._settings(delivery["bot_settings"])
        masked: dict[str, Any] = self._everywhere(self._walk(delivery))
        return masked

    def reply(self, reply: Any) -> Any:
        """Return an answer with the same masks.

        The bot's own words stay, because the test compares them. A masked text that the answer quotes in full is masked too.
        """
        own_words = Anonymizer()
        own_words._masks = self._masks
        return self._everywhere(own_words._walk(reply) if isinstance(reply, dict) else reply)

    def text(self, text: str) -> str:
        """Return a text with all known values masked."""
        for real, mask in self._known():
            text = real.sub(mask, text)
        return text

    def _walk(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "type" in value and "id" in value and "value" in value:
            return self._field(value)
        walked = {key: self._walk(item) for key, item in value.items()}
        if PERSON_KEYS & walked.keys():
            return self._person(walked)
        if "channel" in walked and isinstance(walked["channel"], dict):
            walked["channel"] = self._channel(walked["channel"])
        if FILE_KEYS & walked.keys() and {"name", "url"} & walked.keys():
            walked = self._file(walked)
        return self._free_texts(walked)

    def _field(self, field: dict[str, Any]) -> dict[str, Any]:
        kind, value = field["type"], field["value"]
        if isinstance(value, str):
            if kind == "email":
                value = self._mail(value)
            elif kind == "phone":
                value = self._mask("phone", value)
            elif kind in TEXT_TYPES and self._texts:
                value = self._mask("text", value)
        return field | {"value": self._walk(value)}

    def _person(self, person: dict[str, Any]) -> dict[str, Any]:
        """Mask a person. A bot keeps its name, because its own replies may mention it."""
        if person.get("type") == "bot" or str(person.get("email") or "").startswith("bot@"):
            return person
        return {key: self._person_item(key, item) for key, item in person.items()}

    def _person_item(self, key: str, item: Any) -> Any:
        if not isinstance(item, str) or not item:
            return {} if key in PRIVATE and item else item
        if key == "email":
            return self._mail(item)
        if key in NAMES:
            return self._mask("name", item)
        if key in PHONES:
            return self._mask("phone", item)
        return self._mask("private", item) if key in PRIVATE else item

    def _file(self, file: dict[str, Any]) -> dict[str, Any]:
        """Mask a file: its name but for the ending, and every address, which may be signed."""
        masked = dict(file)
        if isinstance(name := file.get("name"), str) and name:
            ending = re.search(r"\.[A-Za-z0-9]{1,8}\Z", name)
            masked["name"] = self._mask("document", name) + (ending[0] if ending else "")
        for key, item in file.items():
            if key.endswith("url") and isinstance(item, str) and item:
                masked[key] = self._mask("file", item)
        return masked

    def _channel(self, channel: dict[str, Any]) -> dict[str, Any]:
        changed = dict(channel)
        for side in ("to", "from"):
            address = channel.get(side)
            if isinstance(address, dict):
                changed[side] = {key: self._address(key, item) for key, item in address.items()}
        if isinstance(channel.get("phone"), str):
            changed["phone"] = self._mask("phone", channel["phone"])
        return changed

    def _address(self, key: str, item: Any) -> Any:
        if not isinstance(item, str) or not item:
            return item
        return self._mail(item) if key == "email" else self._mask("name", item)

    def _free_texts(self, value: dict[str, Any]) -> dict[str, Any]:
        if not self._texts:
            return value
        return {
            key: self._mask("text", item) if key in TEXTS and isinstance(item, str) and item else item
            for key, item in value.items()
        }

    def _mail(self, address: str) -> str:
        """Mask an address. The domain stays, and so does a bot's `bot@`, which identifies a login."""
        local, at, domain = address.rpartition("@")
        if not at:
            return self._mask("address", address)
        if local == "bot":
            return address
        if ("mail", address) not in self._masks:
            self._masks["mail", address] = f"mail{self._count('mail')}@{domain}"
        return self._masks["mail", address]

    def _settings(self, settings: Any) -> Any:
        """Mask a bot's free settings: the strings in them if they are JSON, otherwise the whole text."""
        try:
            inner = json.loads(settings)
        except (TypeError, ValueError):
            return "masked"
        return json.dumps(_strings_masked(inner), ensure_ascii=False) if isinstance(inner, dict | list) else "masked"

    def _mask(self, kind: str, real: str) -> str:
        if real in self._masks.values():
            return real
        if (kind, real) not in self._masks:
            number = self._count(kind)
            self._masks[kind, real] = f"7000{number:07d}" if kind == "phone" else f"{kind.title()}{number}"
        return self._masks[kind, real]

    def _count(self, kind: str) -> int:
        return 1 + sum(1 for known, _ in self._masks if known == kind)

    def _known(self) -> list[tuple[re.Pattern[str], str]]:
        found = [(real, mask) for (_, real), mask in self._masks.items() if len(real) >= _SHORTEST]
        found.sort(key=lambda pair: -len(pair[0]))
        return [(re.compile(rf"(?<!\w){re.escape(real)}(?!\w)"), mask) for real, mask in found]

    def _everywhere(self, value: Any) -> Any:
        known = self._known()

        def masked(value: Any) -> Any:
            if isinstance(value, str):
                value = SIGNED.sub(r"\1?masked", value)
                for real, mask in known:
                    value = real.sub(mask, value)
                return value
            if isinstance(value, Mapping):
                return {key: masked(item) for key, item in value.items()}
            return [masked(item) for item in value] if isinstance(value, list) else value

        return masked(value)


def _strings_masked(value: Any) -> Any:
    if isinstance(value, str):
        return "masked" if value else value
    if isinstance(value, dict):
        return {key: _strings_masked(item) for key, item in value.items()}
    return [_strings_masked(item) for item in value] if isinstance(value, list) else value
