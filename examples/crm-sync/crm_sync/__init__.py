"""Make a deal in a CRM for a task, write its number into the task, and approve."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError

from bothost import Event, FieldError, Plugin, Reply, Secret, ServiceAddress, Settings

__all__ = ["CrmSync", "DealRefused", "Rules"]


class Rules(Settings):
    """The keys of the section in bots.ini."""

    crm: ServiceAddress
    crm_key: Secret


class DealRefused(Exception):
    """The CRM will not take the deal, however often it is asked."""


class CrmSync(Plugin[Rules]):
    """Calls the CRM by a library that blocks, so its handler is plain: it runs in a thread of the bot's own."""

    def handle(self, event: Event) -> Reply | None:
        """Make the deal once. A CRM that cannot be reached makes the handler fail, and Pyrus's next attempt runs it again."""
        if not event.waiting:
            return None
        try:
            deal = {"client": event.task.need("Client", str), "amount": str(event.task.need("Amount", Decimal))}
            # kept in the journal before it is returned: a rerun after a crash gets the number and makes no second deal
            number = event.once("deal", lambda: self.make(deal, event)).wait()
        except FieldError as error:
            return Reply.reject(f"Please complete the deal: {error}.")
        except DealRefused as refusal:
            return Reply.reject(f"The CRM does not take the deal: {refusal}")
        return Reply.approve(f"The deal has the number {number}.", field_updates={"Deal": number})

    def make(self, deal: dict[str, Any], event: Event) -> str:
        """POST the deal; return its number. Raises DealRefused for a 4xx, and OSError if nobody knows what became of it.

        The CRM knows by `Idempotency-Key` that it has made this deal already. So a call whose answer was lost can be made again.
        """
        headers = {
            "Authorization": f"Bearer {self.settings.crm_key.reveal()}",
            "Content-Type": "application/json",
            "Idempotency-Key": event.id,
        }
        request = urllib.request.Request(self.settings.crm, json.dumps(deal).encode(), headers)  # noqa: S310 - a ServiceAddress is https
        try:
            with urllib.request.urlopen(request, timeout=event.time_left) as answer:  # noqa: S310
                return str(json.load(answer)["number"])
        except HTTPError as error:
            with error:
                if error.code < 500:
                    raise DealRefused(f"{error.code} {error.reason}") from None
                raise
