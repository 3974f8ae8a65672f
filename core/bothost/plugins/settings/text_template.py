"""Read a text with words in braces, which a plugin fills when it writes it."""

from __future__ import annotations

from string import Formatter
from typing import ClassVar, Self


class TextTemplate(str):
    """A text with words in braces, such as `Waits for {who}.`; a subclass names the words. It is a str."""

    __slots__ = ()
    words: ClassVar[tuple[str, ...]] = ()
    """The words that may stand in braces."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text. Raises ValueError for a brace that could not be filled, so that it is found at the start."""
        right = f"only {', '.join(f'{{{word}}}' for word in cls.words)} may stand in braces"
        try:
            names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
            cls(text).filled(**dict.fromkeys(cls.words, ""))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"cannot be filled ({error}); {right}") from None
        if not names <= set(cls.words):
            raise ValueError(f"has something else in braces; {right}")
        return cls(text)

    def filled(self, **values: object) -> str:
        """Return the text with a value for each word. Each is filled in as text, so that what `parse` let pass can be filled."""
        return self.format(**{word: str(value) for word, value in values.items()})
