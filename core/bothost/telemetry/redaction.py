"""Replace known secrets and tokens in texts that are shown."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import quote

MASK = "•••"
_ANCHOR = 8
_SHORTEST_HIT = 8
_MOST_TOKENS = 10_000
_RUN = re.compile(r"\S+")
# texts that look like a token or a password although nobody registered them
_LOOKS_SECRET = re.compile(
    r"""(?P<key>["']?(?:access_token|security_key)["']?\s*[:=]\s*["']?)[^\s"',}&]+"""
    r"""|(?P<bearer>\bBearer\s+)[^\s"',]{4,}"""
    r"""|(?P<url>[a-z][a-z0-9+.-]{1,20}://[^\s/:@"']{0,64}:)[^\s/@"']{1,256}(?=@)""",
    re.IGNORECASE,
)


class Scrubber:
    """Replaces every known secret and token in a text. Any thread may use it.

    The cost does not grow with the number of secrets: each is found by its first characters in a dict, and a text without
    a run of non-blanks as long as the shortest secret's is returned after one search. Only passphrases of short words are
    looked for one by one.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._anchors: dict[str, tuple[str, ...]] = {}
        self._tokens: dict[str, None] = {}
        self._short_words: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._shortest = 1 << 30
        self._long_run = re.compile(r"(?!)")

    def add(self, secret: str) -> None:
        """Replace a secret until it is forgotten as often as it was added. One shorter than 8 characters is not taken."""
        with self._lock:
            count = self._counts.get(secret, 0)
            if count or len(secret) < _ANCHOR:
                self._counts[secret] = count + 1 if count else 0
                return
            self._counts[secret] = 1
            for form in _forms(secret):
                self._index(form)

    def remember(self, token: str) -> None:
        """Replace a token until ten thousand newer ones have come. A known one costs a look into a dict."""
        if token in self._tokens:
            return
        self.add(token)
        self._tokens[token] = None
        if len(self._tokens) > _MOST_TOKENS:
            oldest = next(iter(self._tokens))
            del self._tokens[oldest]
            self.forget(oldest)

    def forget(self, secret: str) -> None:
        """Take back one `add`."""
        with self._lock:
            count = self._counts.get(secret, 0)
            if count > 1:
                self._counts[secret] = count - 1
            elif self._counts.pop(secret, 0):
                for form in _forms(secret):
                    self._drop(form)

    def scrub(self, text: str) -> str:
        """Return the text without any secret."""
        if len(text) < _SHORTEST_HIT:
            return text
        if "oken" in text or "earer" in text or "://" in text or "_key" in text:
            text = _LOOKS_SECRET.sub(_keep_name, text)
        return self._without_known(text)

    def knows(self, text: str) -> bool:
        """Return whether a secret that was added, or a token that is remembered, stands in the text."""
        return self._without_known(text) != text

    def _without_known(self, text: str) -> str:
        for secret in self._short_words:
            text = text.replace(secret, MASK)
        run = self._long_run.search(text)
        while run is not None:
            for secret in self._held(run[0]):
                if secret in text:
                    text = text.replace(secret, MASK)
                    break
            else:
                run = self._long_run.search(text, run.end())
                continue
            run = self._long_run.search(text, run.start())
        return text

    def _held(self, run: str) -> list[str]:
        anchors = self._anchors
        found: set[str] = set()
        for at in range(len(run) - _ANCHOR + 1):
            here = anchors.get(run[at : at + _ANCHOR])
            if here:
                found.update(here)
        return sorted(found, key=len, reverse=True)

    def _index(self, form: str) -> None:
        run = max(_RUN.findall(form) or [""], key=len)
        if len(run) < _ANCHOR:
            self._short_words = (*self._short_words, form)
            return
        self._anchors[run[:_ANCHOR]] = (*self._anchors.get(run[:_ANCHOR], ()), form)
        if len(run) < self._shortest:
            self._shortest = len(run)
            self._long_run = re.compile(rf"\S{{{len(run)},}}")

    def _drop(self, form: str) -> None:
        run = max(_RUN.findall(form) or [""], key=len)
        self._short_words = tuple(one for one in self._short_words if one != form)
        left = tuple(one for one in self._anchors.get(run[:_ANCHOR], ()) if one != form)
        if left:
            self._anchors[run[:_ANCHOR]] = left
        else:
            self._anchors.pop(run[:_ANCHOR], None)


def _forms(secret: str) -> set[str]:
    """Return the forms in which a secret may stand in a text: as it is, in a `repr`, in JSON, in a URL."""
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}


def _keep_name(match: re.Match[str]) -> str:
    return (match["key"] or match["bearer"] or match["url"]) + MASK
