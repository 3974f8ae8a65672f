"""The page of measurements is made from figures alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench import bodies, report, servers
from bench.chart import bars
from bench.measuring import Figure, Plan, ratio

MACHINE = {"cpu": "2 × a processor", "python": "3.11.7"}

OTHERS = ("floor", "aiopyrus", "flask", "fastapi", "slack-bolt")


PLAN = Plan(count=8, rounds=2, seconds=1.0)


def figure(cpu_us: float) -> Figure:
    """Two rounds, the second on a machine that is twice as slow."""
    return Figure([cpu_us, 2 * cpu_us], [0.0, 0.0], [1.5] * 98 + [9.75] * 2)


def result(ours: float) -> report.Result:
    figures = {
        name: {size: figure(100.0 if name in OTHERS else ours) for size in kind.sizes}
        for name, kind in servers.SERVERS.items()
    }
    seconds, megabytes = dict.fromkeys(servers.SERVERS, 0.5), dict.fromkeys(servers.SERVERS, 40.0)
    blocked = dict.fromkeys(servers.BLOCKED, figure(ours))
    killed = {name: [900.0, 700.0, 800.0] for name in servers.RECOVERING}
    return report.Result(MACHINE, figures, seconds, megabytes, blocked, killed, [10.0, 20.0], 1.0, PLAN)


def test_the_table_has_a_line_for_each_server_and_ratios_to_the_floor() -> None:
    lines = report.table(result(120.0)).splitlines()
    assert len(lines) == 2 + len(servers.SERVERS) - len(report.GROWTH[1:])
    assert lines[2].startswith("| bare Tornado")
    assert "| 180 | 1.20 | 1.5 / 9.8 |" in lines[3]


def test_a_ratio_is_taken_within_each_round() -> None:
    slow_at_the_end = Figure([10.0, 10.0, 40.0])
    assert ratio(slow_at_the_end, Figure([5.0, 10.0, 40.0])) == 1.0


def test_a_missed_goal_is_an_exit_code_and_stands_in_the_page() -> None:
    assert report.missed(result(12.0)) == 0
    assert "**missed**" not in report.goals_table(result(12.0))
    assert report.missed(result(200.0)) == 1
    assert "**missed**" in report.goals_table(result(200.0))


def test_the_page_and_the_chart_name_machine_and_servers(tmp_path: Path) -> None:
    report.DOCS, kept = tmp_path, report.DOCS
    try:
        report.write_page(result(120.0))
    finally:
        report.DOCS = kept
    page = (tmp_path / "performance.md").read_text()
    assert "2 × a processor" in page
    assert "{" not in re.sub(r"`\{\}`", "", page)
    assert "| 800 | 700 | 900 |" in page, "a recovery: median, fastest, slowest"
    drawn = {"performance": 3 * len(report.table(result(1.0)).splitlines()[2:])}
    drawn |= {"performance-blocked": 2 * len(servers.BLOCKED), "performance-recovery": len(servers.RECOVERING)}
    for ground in ("light", "dark"):
        for name, count in drawn.items():
            picture = (tmp_path / f"{name}-{ground}.svg").read_text()
            assert picture.count("<rect") == 1 + count
            assert f"({name}" in page or f'"{name}-{ground}.svg"' in page


def test_a_longer_bar_is_a_larger_value() -> None:
    drawn = bars("title", [("panel", [("bothost", 10.0), ("bare", 100.0)])])
    first, second = (float(found) for found in re.findall(r'<rect x="290" y="\d+" width="([\d.]+)"', drawn))
    assert first < second


def test_each_body_is_a_new_event_with_growing_ids(tmp_path: Path) -> None:
    for size in bodies.FIXTURES:
        made = bodies.Bodies(bodies.compact(size, tmp_path).read_bytes())
        first, second = (json.loads(made.next()) for _ in range(2))
        newest = [max(comment["id"] for comment in one["task"]["comments"]) for one in (first, second)]
        assert first["task_id"] < second["task_id"]
        assert newest[0] < newest[1]
        assert len({len(str(comment["id"])) for comment in first["task"]["comments"]}) == 1
