"""What only waits in a host's memory is shown and can be ended by an operator, whichever process it waits on."""

from __future__ import annotations

import pytest
from tests.e2e.site import free_port

PLUGINS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
async def slow(event):
    (HERE / f"ran-{event.task_id}").write_text("yes")
    await asyncio.sleep(0 if event.task_id > 5 else 60)
    return "done"
"""


@pytest.mark.parametrize("processes", [1, pytest.param(3, marks=pytest.mark.full)])
def test_an_operator_sees_and_ends_what_stands_in_line(site, processes: int) -> None:
    host = site(
        PLUGINS, "one: plugin = slow; concurrency = 1", f"operator_port = {free_port()}\nprocesses = {processes}"
    ).start()
    runs = [host.deliver_later("one", 5, comment=number) for number in (1, 2, 3)]
    host.wrote("ran-5")

    def waiting() -> list[str]:
        return [row["id"] for row in host.command("deliveries", "list", "--state", "waiting")]

    ids = host.until(lambda: len(found := waiting()) == 2 and found)
    listed = host.command("deliveries")
    assert sorted(row["state"] for row in listed) == ["running", "waiting", "waiting"]
    shown = host.command("deliveries", "show", ids[0])
    assert (shown["state"], shown["request"]) == ("waiting", None)
    for key in ids:
        cancelled = host.command("deliveries", "cancel", key)
        assert (cancelled["id"], cancelled["state"]) == (key, "cancelled")
    (running,) = [row["id"] for row in listed if row["id"] not in ids]
    host.command("deliveries", "cancel", running)
    answers = [run.result(5.0) for run in runs]
    assert [(one.status, one.body) for one in answers] == [(200, b"{}")] * 3, "the running one ends at once, too"
    host.until(lambda: [row["state"] for row in host.command("deliveries")] == ["cancelled"] * 3)
    again = host.deliver("one", 5, comment=int(ids[0].rpartition(":")[2]), attempt="2/3")
    assert (again.status, again.body) == (200, b"{}")
    host.command("deliveries", "cancel", "one:5:comment:77", code=1)
    assert host.stop() == 0
