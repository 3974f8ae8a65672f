"""Draw the packages of bothost by layer, from the code itself: `python docs/package_map.py` writes docs/images/packages.svg.

The layers are those of the contract in pyproject.toml; each box holds the first sentence of a package's docstring and the
packages that it imports. `tests/test_architecture.py` fails where the picture is not the code's any more.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "bothost"
PICTURE = ROOT / "docs" / "images" / "packages.svg"

WIDTH, MARGIN, GAP = 960, 16, 14
LINE, PADDING = 16, 12
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 } .name { font: 600 14px ui-monospace, monospace }
    .imports { fill: #59636e; font-size: 11px } rect { fill: #f6f8fa; stroke: #d1d9e0 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .imports { fill: #9198a1 } rect { fill: #151b23; stroke: #3d444d }
    }"""


def layers() -> list[list[str]]:
    """Give the names of each layer, from the top down, as the import contract orders them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (rows,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in row.split("|")] for row in rows]


def files_of(name: str) -> list[Path]:
    """Give the source files of a package or a module of the root."""
    module = CORE / f"{name}.py"
    return [module] if module.exists() else sorted((CORE / name).rglob("*.py"))


def sentence_of(name: str) -> str:
    """Give the first sentence of the docstring."""
    module = CORE / f"{name}.py"
    text = (module if module.exists() else CORE / name / "__init__.py").read_text("utf-8")
    docstring = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    return docstring.replace("`", "").split(". ")[0].rstrip(".") + "."


def imported_by(name: str, others: set[str]) -> list[str]:
    """Give the packages that a package imports, sorted."""
    found = set()
    for path in files_of(name):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bothost"):
                parts = (node.module or "").split(".")
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return sorted((found & others) - {name})


def box(left: float, top: float, width: float, lines: list[tuple[str, str]]) -> list[str]:
    """Draw one box with its lines of text; each line is a class and a text."""
    height = len(lines) * LINE + 2 * PADDING - 4
    drawn = [f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height}" rx="6"/>']
    for number, (kind, text) in enumerate(lines, 1):
        y = top + PADDING - 4 + number * LINE - 2
        drawn.append(f'<text class="{kind}" x="{left + PADDING:.0f}" y="{y:.0f}">{escape(text)}</text>')
    return drawn


def picture() -> str:
    """Give the SVG: a row for each layer, a box for each package, imports pointing down."""
    rows = layers()
    everything = {name for row in rows for name in row}
    drawn: list[str] = []
    top = float(MARGIN)
    for row in rows:
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        texts = []
        for name in row:
            wrapped = textwrap.wrap(sentence_of(name), int((width - 2 * PADDING) / 7.1))
            imports = textwrap.wrap(
                "imports " + ", ".join(imported_by(name, everything)), int((width - 2 * PADDING) / 5.4)
            )
            known = imports if imported_by(name, everything) else []
            texts.append([("name", name), *(("", line) for line in wrapped), *(("imports", line) for line in known)])
        tallest = max(map(len, texts))
        for place, lines in enumerate(texts):
            padded = lines + [("", "")] * (tallest - len(lines))
            drawn += box(MARGIN + place * (width + GAP), top, width, padded)
        top += tallest * LINE + 2 * PADDING - 4 + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" role="img">'
    title = "<title>The packages of bothost: each imports only what stands below it</title>"
    return "\n".join([head, title, f"<style>{STYLE}\n</style>", *drawn, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
