"""Log in with the operator's token, and out."""

from __future__ import annotations

from bothost.operator.page.base import PageHandler
from bothost.operator.page.sessions import SESSION_S


class LoginPage(PageHandler):
    """/login"""

    open_to_all = True
    for_readers = True
    most_bytes = 4 << 10

    def get(self) -> None:
        """Show the form, or go on if there is a session already."""
        if self.right is not None:
            self.redirect(own_path(self.query("next")), status=303)
            return
        self.show("login.html", next=own_path(self.query("next")), failed=False)

    async def post(self, *_args: str) -> None:
        """Open a session, or refuse at the pace of failed logins."""
        session = self.page_context.sessions.open(self.form("token").strip())
        if session is None:
            waited = await self.page_context.sessions.fail()
            self.set_status(401 if waited else 429)
            if not waited:
                self.set_header("Retry-After", "20")
            self.show("login.html", next=own_path(self.form("next")), failed=True)
            return
        self.set_cookie(
            self.page_context.cookie,
            session,
            path=f"{self.page_context.public_path}/",
            httponly=True,
            samesite="Strict",
            secure=self._by_tls(),
            max_age=int(SESSION_S),
        )
        self.redirect(own_path(self.form("next")), status=303)

    def _by_tls(self) -> bool:
        """Return whether the browser speaks TLS with us or a proxy. Forging that header only loses the forger's own cookie."""
        return self.page_context.secure or self.request.headers.get("X-Forwarded-Proto", "").lower() == "https"


class LogoutPage(PageHandler):
    """/logout"""

    for_readers = True

    async def change(self, *_args: str) -> None:
        """End the session here and in the browser."""
        if self.right is not None:
            self.page_context.sessions.close(self.right.session)
        self.clear_cookie(self.page_context.cookie, path=f"{self.page_context.public_path}/")
        self.redirect("/login", status=303)


def own_path(target: str) -> str:
    """Return `target` if it is a path of this page, else "/": browsers take `//evil` and `/\\evil` for other hosts."""
    plain = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() and "\\" not in target
    )
    return target if plain else "/"
