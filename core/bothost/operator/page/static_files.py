"""Serve the page's own files."""

from __future__ import annotations

from tornado.web import HTTPError

from bothost.operator.page.base import PageHandler


class StaticFile(PageHandler):
    """/static/NAME and /favicon.ico."""

    open_to_all = True
    by_script = True

    def get(self, name: str = "favicon.ico") -> None:
        """Give the file. Browsers may keep it for a year, because changed content has another URL."""
        found = self.page_context.files.find(name)
        if found is None:
            raise HTTPError(404)
        if self.query("v"):
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.set_header("Content-Type", found[1])
        self.say(found[0])

    head = get
