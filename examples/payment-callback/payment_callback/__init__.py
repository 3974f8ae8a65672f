"""Ask for a payment in the task, and approve when the bank says that it has arrived."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode

from bothost import (
    Event,
    FieldError,
    FieldName,
    Plugin,
    Reply,
    Request,
    RequestRefused,
    Secret,
    ServiceAddress,
    Settings,
    hook,
    signed,
    value_at,
)

__all__ = ["Payment", "PaymentCallback", "Rules"]


class Rules(Settings):
    """The keys of the section in bots.ini."""

    pay_page: ServiceAddress
    bank_key: Secret
    amount: FieldName = FieldName("Amount")
    paid: FieldName = FieldName("Paid")


@dataclass(frozen=True)
class Payment:
    """A payment as the bank tells of it."""

    id: str
    task_id: int
    amount: Decimal

    @classmethod
    def of(cls, request: Request) -> Payment:
        """Read a request. Raises RequestRefused: the bank gets 400 with the text."""
        task_id, amount = value_at(request.json, "/order"), value_at(request.json, "/amount")
        try:
            return cls(str(value_at(request.json, "/payment_id")), int(task_id), Decimal(str(amount)))
        except (ValueError, TypeError, InvalidOperation):
            raise RequestRefused("order is the number of a task, and amount is an amount") from None


class PaymentCallback(Plugin[Rules]):
    """Waits at its step until the bank has called."""

    async def handle(self, event: Event) -> Reply | None:
        """Write the link to pay by, once a task, and decide nothing: the step stays open."""
        if not event.waiting:
            return None
        try:
            amount = event.task.need(self.settings.amount, Decimal)
        except FieldError as error:
            return Reply(f"There is nothing to pay yet: {error}.")
        if await self.store.setdefault(f"asked {event.task_id}", event.id, expires="90d") != event.id:
            return None
        return Reply(
            f"Please pay {amount:.2f}: {self.settings.pay_page}?{urlencode({'order': event.task_id, 'amount': amount})}"
        )

    @hook("paid", signed("settings.bank_key", header="X-Signature"), once=lambda request: Payment.of(request).id)
    async def paid(self, request: Request) -> None:
        """Approve the step. The bank was answered 202 before; what is raised here makes the host call again."""
        payment = Payment.of(request)
        task = await self.pyrus.task(payment.task_id)
        if task.value(self.settings.paid, bool):
            return  # an earlier call of this handler has got so far
        due = task.value(self.settings.amount, Decimal)
        if due != payment.amount:
            text = f"Payment {payment.id} is {payment.amount:.2f} instead of {due}: please decide by hand."
            await self.pyrus.comment(payment.task_id, text)
            return
        await self.pyrus.comment(
            payment.task_id, Reply.approve(f"Paid: {payment.id}.", field_updates={self.settings.paid: True})
        )
