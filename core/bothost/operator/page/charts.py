"""Draw charts as SVG with presentation attributes and classes, so that the strict CSP needs no exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.escape import xhtml_escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bothost.journal.entry import Entry
    from bothost.language import Language
    from bothost.telemetry.metrics import MinuteFigures

MINUTES = 60
_WIDTH = 600
_HEIGHT = 120
PYRUS_S = (60.0, 121.0, 182.0)
"""The seconds after the first delivery at which Pyrus gives up its first, second and third attempt."""


def _by_age(minutes: Iterable[MinuteFigures], now: float) -> dict[int, MinuteFigures]:
    """Return the minutes by place: 0 is an hour ago, 59 is now."""
    last = int(now // 60)
    return {MINUTES - 1 - (last - one.minute): one for one in minutes if 0 <= last - one.minute < MINUTES}


def sparkline(minutes: Sequence[MinuteFigures], now: float, label: str) -> str:
    """Draw the last hour's deliveries and failures, small."""
    places = _by_age(minutes, now)
    top = max((one.deliveries for one in places.values()), default=0) or 1
    good: list[str] = []
    bad: list[str] = []
    for place, one in sorted(places.items()):
        height = max(round(22 * one.deliveries / top), 2) if one.deliveries else 0
        (bad if one.failures else good).append(f"M{place * 2 + 1} 24v-{height}")
    return (
        f'<svg class="spark" viewBox="0 0 120 24" width="120" height="24" role="img" aria-label="{xhtml_escape(label)}">'
        f'<path class="axis" d="M0 23.5H120"/><path class="line" stroke-width="1.6" d="{"".join(good)}"/>'
        f'<path class="line-bad" stroke-width="1.6" d="{"".join(bad)}"/></svg>'
    )


def counts(minutes: Sequence[MinuteFigures], now: float, language: Language) -> str:
    """Draw the deliveries of each minute, and the failed runs among them."""
    places = _by_age(minutes, now)
    top = _round_up(max((max(one.deliveries, one.failures) for one in places.values()), default=0))

    def bar(place: int, one: MinuteFigures) -> str:
        full, bad = 100 * one.deliveries / top, 100 * one.failures / top
        told = f"{language.count('deliveries', one.deliveries)}, {language.text('failed')}: {one.failures}"
        return (
            f"<g><title>{xhtml_escape(_minute(one, language))}: {xhtml_escape(told)}</title>"
            f'<rect class="hit" x="{place * 10}" y="0" width="10" height="100"/>'
            f'<rect class="bar" x="{place * 10 + 1}" y="{100 - full:.1f}" width="8" height="{full:.1f}" rx="1"/>'
            f'<rect class="bar-bad" x="{place * 10 + 1}" y="{100 - bad:.1f}" width="8" height="{bad:.1f}" rx="1"/></g>'
        )

    return _frame(places, bar, (str(top), "0"), language.text("Deliveries by minute, the last hour"), language)


def durations(minutes: Sequence[MinuteFigures], now: float, language: Language) -> str:
    """Draw the mean and the slowest run of each minute."""
    from bothost.operator.page.formatting import span

    places = {place: one for place, one in _by_age(minutes, now).items() if one.runs}
    top = max((one.slowest for one in places.values()), default=0.0) or 1.0

    def bar(place: int, one: MinuteFigures) -> str:
        mean, slow = one.seconds / one.runs, one.slowest
        told = f"{language.text('mean')} {span(mean, language)}, {language.text('slowest')} {span(slow, language)}"
        return (
            f"<g><title>{xhtml_escape(_minute(one, language))}: {xhtml_escape(told)}</title>"
            f'<rect class="hit" x="{place * 10}" y="0" width="10" height="100"/>'
            f'<rect class="bar-soft" x="{place * 10 + 1}" y="{100 - 100 * slow / top:.1f}" width="8"'
            f' height="{100 * slow / top:.1f}" rx="1"/>'
            f'<rect class="bar" x="{place * 10 + 1}" y="{100 - 100 * mean / top:.1f}" width="8"'
            f' height="{100 * mean / top:.1f}" rx="1"/></g>'
        )

    return _frame(places, bar, (span(top, language), "0"), language.text("Run time by minute, the last hour"), language)


def _frame(
    places: dict[int, MinuteFigures],
    bar: Callable[[int, MinuteFigures], str],
    ends: tuple[str, str],
    label: str,
    language: Language,
) -> str:
    if not places:
        return f'<p class="hint">{xhtml_escape(language.text("Nothing in the last hour."))}</p>'
    bars = "".join(bar(place, one) for place, one in sorted(places.items()))
    ago = language.text("1 h ago")
    now = language.text("now")
    return (
        f'<svg class="chart" viewBox="0 -8 {_WIDTH} {_HEIGHT + 8}" role="img" aria-label="{xhtml_escape(label)}">'
        f'<path class="grid" d="M0 0H{_WIDTH}M0 50H{_WIDTH}"/>{bars}<path class="axis" d="M0 100H{_WIDTH}"/>'
        f'<text x="0" y="-1" font-size="11">{xhtml_escape(ends[0])}</text>'
        f'<text x="0" y="116" font-size="11">{xhtml_escape(ago)}</text>'
        f'<text x="{_WIDTH}" y="116" font-size="11" text-anchor="end">{xhtml_escape(now)}</text></svg>'
    )


def _minute(one: MinuteFigures, language: Language) -> str:
    hours, minutes = divmod(one.minute % 1440, 60)
    return f"{hours:02}:{minutes:02} {language.text('UTC')}"


def _round_up(top: int) -> int:
    """Return a round number just above the highest bar."""
    step = 1
    while top > 10 * step:
        step *= 10
    return max(-(-top // step) * step, 1)


def attempts(entry: Entry, now: float, language: Language) -> str:
    """Draw an event beside Pyrus's three attempts: deliveries, the last run, its end."""

    def x(seconds: float) -> float:
        return 10 + min(max(seconds, 0.0), 190.0) * 3

    parts = []
    begin = 0.0
    for number, end in enumerate(PYRUS_S, 1):
        parts.append(
            f'<rect class="attempt" x="{x(begin):.1f}" y="18" width="{x(end) - x(begin) - 2:.1f}" height="26" rx="3"/>'
            f'<text x="{x(begin) + 6:.1f}" y="13" font-size="11">{xhtml_escape(language.text("attempt {k}", k=number))}</text>'
            f'<text x="{x(end) - 2:.1f}" y="60" font-size="11" text-anchor="end">{end:.0f} {language.text("s")}</text>'
        )
        begin = end
    ended = entry.updated if entry.state not in ("ready", "running") or entry.ms else now
    run_from, run_to = ended - entry.ms / 1000 - entry.created, ended - entry.created
    if entry.runs:
        tone = "bar-bad" if entry.state == "failed" or entry.failed else "bar"
        width = max(x(run_to) - x(run_from), 3)
        parts.append(
            f"<g><title>{xhtml_escape(language.text('the last run'))}</title>"
            f'<rect class="{tone}" x="{x(run_from):.1f}" y="25" width="{width:.1f}" height="12" rx="3"/></g>'
        )
    came = sorted({0.0, max(entry.seen_at - entry.created, 0.0) if entry.seen else 0.0})
    told = f"<title>{xhtml_escape(language.text('a delivery came'))}</title>"
    parts.extend(f'<g>{told}<circle class="mark" cx="{x(at):.1f}" cy="31" r="5"/></g>' for at in came)
    label = language.text("The event against Pyrus's attempts")
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} 64" role="img" aria-label="{xhtml_escape(label)}">{"".join(parts)}</svg>'
