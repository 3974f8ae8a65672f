"""Fuzz one target for a while: `python -m tests.fuzz.run head --seconds 600`.

Coverage-guided by atheris where it installs, else with inputs that hypothesis draws and mutates from the seeds. What breaks
a promise ends the run with a traceback, the seed and a file; `--input FILE` tries one input again. Inputs that once broke
something stand in found/TARGET and are tried first.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

HERE = Path(__file__).parent
TARGETS = ("signature", "head", "ini", "decoder", "replies", "answers")
LONGEST = 8192

try:
    import atheris
except ImportError:
    atheris = None


def main() -> None:
    """See the module."""
    options = _options()
    target = _load(options.target, guided=options.input is None and not options.unguided)
    for file in [Path(options.input)] if options.input else sorted(HERE.joinpath("found", options.target).glob("*")):
        _try(target.check, file.read_bytes(), str(file))
    if options.input:
        return
    if atheris is not None and not options.unguided:
        _guided(target, options.seconds, options.seed)
    _unguided(target, options.seconds, options.seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big") + 1)
    parser.add_argument("--input", help="try this file only")
    parser.add_argument("--unguided", action="store_true", help="hypothesis, also where atheris is installed")
    return parser.parse_args()


def _load(name: str, *, guided: bool) -> ModuleType:
    module = f"tests.fuzz.targets.{name}"
    if atheris is None or not guided:
        return importlib.import_module(module)
    with atheris.instrument_imports(include=["bothost", "tornado.http1connection", "tornado.httputil"]):
        return importlib.import_module(module)


def _try(check: Callable[[bytes], None], data: bytes, where: str) -> None:
    try:
        check(data)
    except BaseException:
        print(f"broken by {where}", file=sys.stderr, flush=True)
        raise


def _guided(target: ModuleType, seconds: float, seed: int) -> None:
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = work / "corpus"
    corpus.mkdir()
    for one in target.seeds():
        corpus.joinpath(hashlib.sha256(one).hexdigest()[:12]).write_bytes(one)
    arguments = [
        sys.argv[0], f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=10",
        "-rss_limit_mb=2048", f"-artifact_prefix={work}/", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, target.check)
    atheris.Fuzz()  # ends the process: 0 when the time is up


def _unguided(target: ModuleType, seconds: float, seed: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    known = st.sampled_from(target.seeds())
    spliced = st.tuples(known, st.integers(0, 200), st.binary(max_size=40), st.integers(0, 40)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + parts[3] :]
    )
    ends, tried = time.monotonic() + seconds, 0

    def check(data: bytes) -> None:
        nonlocal tried
        tried += 1
        target.check(data)

    for one in target.seeds():
        _try(check, one, repr(one))
    turn = 0
    while time.monotonic() < ends:
        turn += 1
        run = given(spliced | st.binary(max_size=2000) | known)(check)
        run = settings(
            max_examples=200, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(run)  # fmt: skip
        try:
            seeded(seed + turn)(run)()
        except BaseException:
            traceback.print_exc()
            print(f"seed {seed + turn}", file=sys.stderr)
            sys.exit(77)
    print(f"Done {tried} runs, seed {seed}", file=sys.stderr)


if __name__ == "__main__":
    main()
