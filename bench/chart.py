"""A bar chart as SVG, by hand: one panel for each size of body, with a logarithmic axis, because the figures span two decades."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LABELS, BAR, GAP, HEAD = 860, 250, 18, 6, 40
OURS, FLOOR, PEER = "#2f6f4f", "#9aa5ad", "#b9702a"


def bars(title: str, panels: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Return an SVG document; each panel has a name and bars (name, value)."""
    values = [value for _, rows in panels for _, value in rows]
    low, high = 10 ** math.floor(math.log10(min(values))), max(values) * 1.25
    parts, y = [], HEAD
    for name, rows in panels:
        parts.append(f'<text x="8" y="{y + 14}" class="panel">{escape(name)}</text>')
        y += 24
        for label, value in rows:
            parts.append(_bar(label, value, (low, high), y))
            y += BAR + GAP
        y += 14
    style = "text{font:12px sans-serif;fill:#222}.panel{font-weight:bold}.title{font-size:14px;font-weight:bold}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(title)}">'
    ground = f'<style>{style}</style><rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    return "\n".join([head, ground, f'<text x="8" y="22" class="title">{escape(title)}</text>', *parts, "</svg>\n"])


def _bar(label: str, value: float, ends: tuple[float, float], y: float) -> str:
    low, high = ends
    length = (WIDTH - LABELS - 80) * math.log(value / low) / math.log(high / low)
    colour = OURS if label.startswith("bothost") else FLOOR if label.startswith("bare") else PEER
    return (
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
        f'<text x="{LABELS + length + 6:.1f}" y="{y + 13}">{value:,.0f}</text>'
    )
