"""bothost's listener alone: it routes, collects and verifies, and answers the approval at once; nothing is decoded or run.

    python -m bench.listener SECRET

Prints its port when it listens. What bothost costs beyond this is decoding, the pipeline, the plugin and the journal.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tornado.netutil import bind_sockets

from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, Registry, Service
from bothost.clock import SystemClock
from bothost.config.values import BotConfig
from bothost.host import process_setup
from bothost.http_server.limits import ConnectionLimits
from bothost.pipeline.delivery import Outcome
from bothost.webhook.listener import webhook_server
from bothost.webhook.request import WebhookContext

if TYPE_CHECKING:
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.hooks import HookDelivery

ANSWER = Outcome(200, b'{"text": "This task approved by bot.", "approval_choice": "approved"}', "replied")


class SameAnswer:
    """Answers the same to every verified delivery."""

    def receive(self, delivery: Delivery | HookDelivery) -> None:
        """See `request.DeliveryReceiver`."""
        delivery.respond(ANSWER)


async def serve(secret: bytes) -> None:
    """Serve until it is killed."""
    config = BotConfig(name="b0", plugin="", path="/b0", secrets=(secret,))
    service = Service(Registry([Bot(config, BotQueue(1))]))
    front = WebhookContext(service, SameAnswer(), lambda *_refused: None, SystemClock())
    listener = webhook_server(front, ConnectionLimits())
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    listener.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.Runner(loop_factory=process_setup.loop_factory()).run(serve(sys.argv[1].encode()))
