"""The paths for programs: /healthz, /readyz, /metrics."""

from __future__ import annotations

import json

from bothost.operator.page.base import PageHandler


class HealthProbe(PageHandler):
    """/healthz: the process answers."""

    open_to_all = True
    by_script = True

    def get(self) -> None:
        """Answer 200, which shows that the event loop works."""
        self.say({"status": "ok"})

    head = get


class ReadinessProbe(PageHandler):
    """/readyz: deliveries can be taken."""

    open_to_all = True
    by_script = True

    async def get(self) -> None:
        """Answer 200 or 503 with the reasons. A bot in error is listed and does not count; its reason is on the page only."""
        ready = await self.operations.ready()
        self.set_status(200 if ready.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.say(
            json.dumps(
                {
                    "ready": ready.ready,
                    "phase": ready.phase,
                    "journal": ready.journal,
                    "loops_down": sorted(ready.loops_down),
                    "listener": ready.listener,
                    "bots": dict(ready.bots),
                    "not_serving": dict(list(ready.troubled.items())[:100]),
                }
            )
        )

    head = get


class MetricsPage(PageHandler):
    """/metrics"""

    by_script = True

    async def prepare(self) -> None:
        """Check the right as every page does, unless `metrics_open = yes`."""
        self.open_to_all = self.page_context.metrics_open
        await super().prepare()

    async def get(self) -> None:
        """Give the metrics."""
        body = await self.page_context.exposition.text()
        self.set_header("Content-Type", self.page_context.exposition.content_type)
        self.say(body)

    head = get
