"""Configure Sphinx for the documentation site. build.py gives the language, and the folder with the pages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bothost

if TYPE_CHECKING:
    from sphinx.application import Sphinx

language = os.environ.get("BOTHOST_DOCS_LANGUAGE", "en")
project = "bothost"
author = "the authors of bothost"
copyright = {"en": "the authors of bothost, MIT licence", "ru": "авторы bothost, лицензия MIT"}[language]  # noqa: A001
version = release = bothost.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["files"]
nitpicky = False
default_role = "code"  # a docstring says `name` for code

myst_heading_anchors = 4
myst_url_schemes = {
    "http": None,
    "https": None,
    "mailto": None,
    # the other language's site, which is built by itself, because its words are searched in another way
    "english": {"url": "../{{path}}#{{fragment}}", "title": "{{path}}"},
    "russian": {"url": "ru/{{path}}#{{fragment}}", "title": "{{path}}"},
}
suppress_warnings = [
    "myst.header",  # a package's README may begin below the first rank
    "ref.python",  # "type" in a signature is Python's own, and not one of the attributes of that name
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"bothost {version}"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["site.css"]
html_js_files = ["russian.js"] if language == "ru" else []
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
html_sidebars = {
    "**": [
        "sidebar/brand.html", "languages.html", "sidebar/search.html", "sidebar/scroll-start.html",
        "sidebar/navigation.html", "sidebar/scroll-end.html",
    ]
}  # fmt: skip
html_context = {"other_language": {"en": ("ru/", "По-русски"), "ru": ("../", "English")}[language]}
copybutton_exclude = ".linenos, .gp, .go"

_CODE = re.compile(r"(``?[^`]*``?)")


def _as_text(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Keep docutils from reading markup into a docstring: only `code`, paragraphs, lists and indented blocks have a meaning."""
    for number, line in enumerate(lines):
        mark = re.match(r"\s*(?:[-*] |\d+\. )?", line)
        begin = mark.end() if mark else 0
        parts = _CODE.split(line[begin:])
        parts[::2] = [re.sub(r"([*|\\]|_\b)", r"\\\1", part) for part in parts[::2]]
        lines[number] = line[:begin] + "".join(parts)


_MADE_BY_AUTHORS = {"Reply", "GiveUp", "Response", "Settings", "Secret", "FieldName", "Harness"}


def _without_the_hosts_arguments(
    _app: Sphinx, what: str, name: str, _object: Any, _options: Any, signature: str | None, _gives: str | None
) -> tuple[str, str | None] | None:
    """Leave out how the host makes what authors only receive."""
    hidden = what in ("class", "exception") and name.rpartition(".")[2] not in _MADE_BY_AUTHORS
    return ("", None) if hidden and signature else None


def setup(app: Sphinx) -> None:
    """Connect the reading of docstrings and signatures."""
    app.connect("autodoc-process-docstring", _as_text)
    app.connect("autodoc-process-signature", _without_the_hosts_arguments)
