"""Whatever comes in, only documented outcomes: each target fuzzed for a while, longer with BOTHOST_FUZZ_SECONDS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.fuzz.run import TARGETS

TREE = Path(__file__).parents[2]
SECONDS = float(os.environ.get("BOTHOST_FUZZ_SECONDS", "30"))


def start(target: str, seconds: float, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-W",
        "error::RuntimeWarning",
        "-m",
        "tests.fuzz.run",
        target,
        f"--seconds={seconds}",
        *more,
    ]
    # libFuzzer's limit counts the most memory that a process has had, and a child made by vfork begins with its parent's.
    # A shell forks, so that no test that needed much before this one in the same process ends the fuzzer
    command = ["sh", "-c", '"$@" & wait $!', "sh", *command]
    return subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(running: subprocess.Popen[str], seconds: float) -> int:
    """How many inputs were tried; the whole of what was printed where one broke a promise."""
    told, _ = running.communicate(timeout=seconds + 60)
    assert running.returncode == 0, f"{' '.join(map(str, running.args))}\n{told[-6000:]}"
    (runs,) = re.findall(r"Done (\d+) runs", told)
    return int(runs)


@pytest.mark.parametrize("target", TARGETS)
def test_two_seconds_of_anything_give_only_documented_outcomes(target: str) -> None:
    assert end(start(target, 2), 2) > 100


def test_without_atheris_hypothesis_draws_the_inputs() -> None:
    assert end(start("signature", 1, "--unguided"), 1) > 50


@pytest.mark.full
@pytest.mark.parametrize("pair", [TARGETS[:2], TARGETS[2:4], TARGETS[4:]], ids="-".join)
def test_half_a_minute_of_anything_gives_only_documented_outcomes(pair: tuple[str, ...]) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(start(target, SECONDS)) for target in pair]
        tried = {target: end(one, SECONDS) for target, one in zip(pair, running, strict=True)}
    print(tried)
    assert all(runs > 1000 for runs in tried.values())
