"""A body of many small objects stops no neighbour for long."""

from __future__ import annotations

import json
import threading
import time

import pytest
from tests.e2e.site import SECRET

from bothost.pyrus.signature import sign

PLUGINS = """
async def takes(event):
    return "taken"
async def greet(event):
    return "hello"
"""
HEAD = '{"event":"comment","task_id":%d,"user_id":99,"access_token":"token-of-the-event","task":{"id":1,"author":{"id":7,"email":"bot@x"},'


def body_of(kind: str, task: int) -> bytes:
    if kind == "comments":
        held = '"comments":[' + ",".join(f'{{"id":{n}}}' for n in range(1, 600_000)) + "]}}"
    elif kind == "approvals":
        one = '[{"person":{"id":%d},"approval_choice":"waiting"}]'
        held = '"comments":[{"id":5}],"approvals":[' + ",".join(one % n for n in range(100, 150_000)) + "]}}"
    else:
        one = '{"id":%d,"type":"text","name":"n%d","value":"v"}'
        held = '"fields":[' + ",".join(one % (n, n) for n in range(150_000)) + "]}}"
    return (HEAD % task + held).encode()


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize("kind", ["comments", "approvals", "fields"])
def test_a_neighbour_is_answered_while_ten_megabytes_are_decoded(site, kind):
    host = site(PLUGINS, "big: plugin = takes\nother: plugin = greet").start()
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        for task in range(1000, 100_000):
            if over.is_set():
                return
            begun = time.monotonic()
            assert host.deliver("other", task=task, comment=task).text == "hello"
            took.append(time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    for task in (1, 2, 3):
        body = body_of(kind, task)
        answer = host.post("big", body, {"X-Pyrus-Sig": sign(body, SECRET)}, 60)
        assert json.loads(answer.body)["text"] == "taken"
    over.set()
    asking.join(30)
    took.sort()
    print(
        f"{kind}: {len(body) / 1e6:.1f} MB, neighbour p95 {1000 * took[int(len(took) * 0.95)]:.0f} ms, worst {1000 * took[-1]:.0f} ms"
    )
    assert took[int(len(took) * 0.95)] < 0.5
    assert host.stop() == 0
