"""Greet the author of a task and approve it, as the bot of Pyrus's help page does."""

from bothost import Event, Plugin, Reply, Settings

__all__ = ["Autoreply", "Greeting"]


class Greeting(Settings):
    """`greeting`: the word before the author's address. `text`: the sentence behind it."""

    greeting: str = "Hello"
    text: str = "This task approved by bot."


class Autoreply(Plugin[Greeting]):
    """Answers each event. By default the host leaves out the bot's own comments."""

    async def handle(self, event: Event) -> Reply:
        """Greet by e-mail, else by name. A customer of a chat, a role and Pyrus itself have no e-mail."""
        author, settings = event.task.author, self.settings
        known = author.email or author.name
        hello = f"{settings.greeting}, {known}" if known else settings.greeting
        return Reply.approve(f"{hello}. {settings.text}")
