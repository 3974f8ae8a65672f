"""Check purchase requests: add up their lines, convert the amount, and ask the chief about large ones."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import aiohttp

from bothost import CatalogItems, Event, FieldError, Plugin, Reply, Row, ServiceAddress, Settings, Task, cron
from purchase_requests.lines import as_csv, total_of

__all__ = ["PurchaseRequest", "PurchaseRequests", "Rules"]


COUNTED = "requests to "
"""The beginning of the keys under which the store holds the counts."""


class Rules(Settings):
    """The keys of the section in bots.ini."""

    rates: ServiceAddress
    limit: Decimal
    chief: str
    summary_task: int
    currency: str = "RUB"
    zone: str = "Europe/Moscow"


@dataclass(frozen=True)
class PurchaseRequest:
    """The fields of the form that the bot reads."""

    supplier: str
    amount: Decimal
    currency: str
    lines: tuple[Row, ...]

    @classmethod
    def of(cls, task: Task) -> PurchaseRequest:
        """Read a task. Raises FieldError, whose text tells people which field is empty."""
        supplier = task.need("Supplier", CatalogItems).first or {}
        return cls(
            supplier.get("Name", ""),
            task.need("Amount", Decimal),
            task.need("Currency", str),
            task.need("Lines", tuple),
        )


class PurchaseRequests(Plugin[Rules]):
    """Decides at its own step, and puts the chief on the next one if an amount is above `limit`."""

    async def open(self) -> None:
        """Open the connections to the service of rates."""
        self.http = aiohttp.ClientSession()

    async def close(self) -> None:
        """Close them."""
        await self.http.close()

    async def handle(self, event: Event) -> Reply | None:
        """Check a request. The rate may take more than a minute: then the host posts the reply when it is ready."""
        if not event.waiting:
            return None
        try:
            request = PurchaseRequest.of(event.task)
        except FieldError as error:
            return Reply.reject(f"Please complete the request: {error}.")
        if (lines := total_of(request.lines)) != request.amount:
            return Reply.reject(f"The lines come to {lines:,.2f}, the amount is {request.amount:,.2f}.")
        total = (request.amount * await self.rate(request.currency, event)).quantize(Decimal("0.01"))
        # a rerun of the event gets the number that is kept, and counts nothing a second time
        number = await event.once("count", lambda: self.store.add(counted(request.supplier)))
        table = await event.pyrus.upload(as_csv(request.lines), f"request-{event.task_id}.csv")
        return Reply.approve(
            f"{total:,.2f} {self.settings.currency}. Requests to {request.supplier} this week: {number}.",
            field_updates={"Total": total},
            attachments=[table],
            approvals_added={event.step + 1: [self.settings.chief]} if total > self.settings.limit else None,
        )

    async def rate(self, currency: str, event: Event) -> Decimal:
        """Ask for the rate, as long as the run may take. What it raises makes Pyrus's next attempt run the handler again."""
        if currency == self.settings.currency:
            return Decimal(1)
        pair = {"from": currency, "to": self.settings.currency}
        limit = aiohttp.ClientTimeout(total=event.time_left)
        async with self.http.get(self.settings.rates, params=pair, timeout=limit, raise_for_status=True) as answer:
            return Decimal(str((await answer.json())["rate"]))

    @cron("0 9 * * 1", tz="settings.zone")
    async def summary(self) -> None:
        """Write on Monday at nine how many requests each supplier has had since the last summary."""
        counts = {key: number async for key, number in self.store.items(COUNTED) if number}
        rows = [f"{key.removeprefix(COUNTED)}: {number}" for key, number in counts.items()]
        await self.pyrus.comment(self.settings.summary_task, "\n".join(["Requests of the week", *(rows or ["none"])]))
        for key, number in counts.items():
            await self.store.add(key, -number)  # and not to 0, because a request may have come meanwhile


def counted(supplier: str) -> str:
    """Return the key of a supplier's count in the store, in which a key has at most 200 characters."""
    return f"{COUNTED}{supplier}"[:200]
