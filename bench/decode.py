"""Measure the reading of a delivery: json.loads, msgspec untyped, and our decode with the event key and the own-comment check.

    python -m bench.decode [FOLDER OF BODIES]
    python -m bench.decode --both BODY

Prints µs per body, the best of several rounds, with the ratio to json.loads on the same body: the machine's own speed
drops out of it. `--both` prints the mean µs of signature and decoding together, and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bothost.pyrus.envelope import decode, event_key, is_own, waiting_step
from bothost.pyrus.signature import Verifier, sign

if TYPE_CHECKING:
    from collections.abc import Callable

BODIES = Path(__file__).parent.parent / "tests" / "data" / "deliveries"
NAMES = ("16_seed_sample_corrected", "02_form_all_field_types", "15_big_task_300_comments")
ROUNDS = 80


def best(call: Callable[[], object], seconds: float = 0.003) -> float:
    """Return the µs of one call, of the best of several rounds, each of which is long enough for the clock."""
    timer = timeit.Timer(call)
    number = max(1, int(seconds / max(timer.timeit(3) / 3, 1e-7)))
    return min(timer.repeat(ROUNDS, number)) / number * 1e6


def work(body: bytes) -> str:
    """Do what the host does with each verified body."""
    envelope = decode(body)
    is_own(envelope, envelope.user_id)
    return event_key("bench", envelope)


def touch_comments(body: bytes) -> int:
    """Do what a handler does that reads the text of every comment."""
    return sum(len(comment.text or "") for comment in decode(body).task.comments)


def verify(body: bytes, verifier: Verifier, header: str) -> int | None:
    """Make the signature of a body that came in one chunk."""
    verification = verifier.begin()
    verification.feed(body)
    return verification.check(header)


def measure(body: bytes) -> dict[str, float]:
    """Return µs by name of one body."""
    verifier, header = Verifier([b"a key of the benchmark"]), sign(body, b"a key of the benchmark")
    field = next((field.name for field in decode(body).task.fields if field.name), "")
    return {
        "json.loads": best(lambda: json.loads(body)),
        "msgspec untyped": best(lambda: msgspec.json.decode(body)),
        "decode": best(lambda: decode(body)),
        "decode + key + own": best(lambda: work(body)),
        "decode + waiting_step": best(lambda: waiting_step(decode(body), 900100)),
        "decode + every comment": best(lambda: touch_comments(body)),
        "decode + task.field(name)": best(lambda: decode(body).task.field(field)),
        "signature": best(lambda: verify(body, verifier, header)),
    }


def both(body: bytes) -> float:
    """Return the µs of a signature and of the parts of a body that the host reads, the mean over a tenth of a second."""
    verifier, header = Verifier([b"a key of the benchmark"]), sign(body, b"a key of the benchmark")

    def receive() -> None:
        verify(body, verifier, header)
        work(body)

    timer = timeit.Timer(receive, timer=time.process_time)
    number = max(1, int(0.1 / max(timer.timeit(20) / 20, 1e-7)))
    return timer.timeit(number) / number * 1e6


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--both"]:
        print(both(Path(sys.argv[2]).read_bytes()))
        return
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BODIES
    for name in NAMES:
        body = (folder / f"{name}.json").read_bytes()
        figures = measure(body)
        base = figures["json.loads"]
        print(f"{name}, {len(body):,} bytes")
        for what, cost in figures.items():
            print(f"  {what:<28}{cost:>9.1f} µs {cost / base:>7.3f} of json.loads")


if __name__ == "__main__":
    main()
