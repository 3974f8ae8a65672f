"""Add up the lines of a request, and write them as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal

from bothost import Row

COLUMNS = ("Goods", "Count", "Price")
FORMULA = ("=", "+", "-", "@")
"""A spreadsheet would carry out a text that begins so."""


def total_of(lines: Iterable[Row]) -> Decimal:
    """Return the sum of count times price; an empty cell counts as nothing."""
    return sum((Decimal(line["Count"] or 0) * (line["Price"] or 0) for line in lines), start=Decimal(0))


def as_csv(lines: Iterable[Row]) -> bytes:
    """Return the lines as UTF-8 with a mark by which a spreadsheet knows it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([safe(line[column]) for column in COLUMNS] for line in lines)
    return text.getvalue().encode("utf-8-sig")


def safe(value: object) -> object:
    """Return a cell that a spreadsheet shows and does not carry out."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
