"""Dashboard and alert rules name only metrics and outcomes that the host has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bothost.telemetry.metrics.families import NAMES, STATES

MONITORING = Path(__file__).parent.parent / "docs" / "monitoring"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
SHOWN = {name + suffix for name, (kind, _) in NAMES.items() for suffix in SUFFIXES[kind]}


def expressions() -> list[str]:
    dashboard: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [variable["query"] for variable in dashboard["templating"]["list"]]
    rules = (MONITORING / "alerts.yml").read_text("utf-8")
    return found + re.findall(r"expr: .*\n(?: {10}.*\n)*", rules)


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_names_metrics_that_exist(expression: str) -> None:
    named = set(re.findall(r"\b(?:bothost|process)_\w+", expression))
    assert named or expression == "prometheus" or "up{" in expression
    assert named <= SHOWN
    for states in re.findall(r'bothost_bot(?:s|_state)\{[^}]*state!?=~?"([^"]+)"', expression):
        assert set(states.split("|")) <= set(STATES)


def test_every_metric_but_a_few_is_on_the_dashboard_or_in_a_rule() -> None:
    used = set(re.findall(r"\b(?:bothost|process)_\w+", " ".join(expressions())))
    unused = {name for name, (kind, _) in NAMES.items() if not used & {name + suffix for suffix in SUFFIXES[kind]}}
    assert unused <= {
        "bothost_child_restarts",
        "bothost_timer_ticks",
        "bothost_hooks",
        "bothost_jobs",
        "bothost_process_start_time_seconds",
        "bothost_loop_lag_seconds",
    }


def test_panels_have_places_of_their_own() -> None:
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))["panels"]
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
