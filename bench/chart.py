"""A bar chart as SVG, by hand: one panel for each size of body, with a logarithmic axis, because the figures span two decades."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LABELS, BAR, GAP, HEAD = 860, 290, 18, 6, 40


class Ground(NamedTuple):
    """The colours of a chart for a light or a dark page."""

    paper: str
    ink: str
    ours: str
    floor: str
    peer: str


GROUNDS = {
    "light": Ground("#ffffff", "#222222", "#2f6f4f", "#9aa5ad", "#b9702a"),
    "dark": Ground("#131416", "#d6d6d6", "#5fb98a", "#6c7780", "#d99a5b"),
}


def bars(
    title: str, panels: Sequence[tuple[str, Sequence[tuple[str, float]]]], ground: Ground = GROUNDS["light"]
) -> str:
    """Return an SVG document; each panel has a name and bars (name, value)."""
    values = [value for _, rows in panels for _, value in rows]
    low, high = 10 ** math.floor(math.log10(min(values))), max(values) * 1.25
    parts, y = [], HEAD
    for name, rows in panels:
        parts.append(f'<text x="8" y="{y + 14}" class="panel">{escape(name)}</text>')
        y += 24
        for label, value in rows:
            parts.append(_bar(label, value, (low, high), y, ground))
            y += BAR + GAP
        y += 14
    style = f"text{{font:12px sans-serif;fill:{ground.ink}}}.panel{{font-weight:bold}}.title{{font-size:14px;font-weight:bold}}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(title)}">'
    paper = f'<style>{style}</style><rect width="{WIDTH}" height="{y}" fill="{ground.paper}"/>'
    return "\n".join([head, paper, f'<text x="8" y="22" class="title">{escape(title)}</text>', *parts, "</svg>\n"])


def _bar(label: str, value: float, ends: tuple[float, float], y: float, ground: Ground) -> str:
    low, high = ends
    length = (WIDTH - LABELS - 80) * math.log(value / low) / math.log(high / low)
    ours = label.startswith("bothost")
    colour = ground.ours if ours else ground.floor if label.startswith("bare") else ground.peer
    return (
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
        f'<text x="{LABELS + length + 6:.1f}" y="{y + 13}">{value:,.0f}</text>'
    )
