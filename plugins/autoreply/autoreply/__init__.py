"""The bot of Pyrus's help page: greets the author of a task and approves it."""

from bothost import Event, Plugin, Reply, Settings

__all__ = ["Autoreply", "Greeting"]


class Greeting(Settings):
    """`greeting`: the word before the author's address."""

    greeting: str = "Hello"


class Autoreply(Plugin[Greeting]):
    """Answers each event; that the bot's own comments are left out is the host's default."""

    async def handle(self, event: Event) -> Reply:
        """Greet by e-mail; a customer of a chat, a role and Pyrus itself have none, so by name, or not by name at all."""
        author = event.task.author
        known = author.email or author.name
        hello = f"{self.settings.greeting}, {known}" if known else self.settings.greeting
        return Reply.approve(f"{hello}. This task approved by bot.")
