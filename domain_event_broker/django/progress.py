"""A progress bar for a terminal."""

from __future__ import annotations

from typing import Protocol

_BAR_CHARACTERS = 30
# Back to the first column, and delete what stands there.
_START_OF_LINE = "\r\033[K"


class Terminal(Protocol):
    """Of Django's `OutputWrapper`, what is used here."""

    def isatty(self) -> bool: ...

    def write(self, msg: str, *, ending: str) -> object: ...

    def flush(self) -> object: ...


class ProgressBar:
    """Redraws one line on a terminal; writes nothing anywhere else. For one thread."""

    def __init__(self, stream: Terminal, *, is_shown: bool = True) -> None:
        self._stream = stream
        self._is_shown = is_shown and stream.isatty()
        self._drawn = ""

    def draw(self, label: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; may be called as often as there is news."""
        if not self._is_shown:
            return
        filled = _BAR_CHARACTERS * done // max(total, 1)
        bar = "#" * filled + "." * (_BAR_CHARACTERS - filled)
        line = f"[{bar}] {done}/{total} {label}"
        if line != self._drawn:
            self._write(line)

    def clear(self) -> None:
        """Make room for other lines."""
        if self._drawn:
            self._write("")

    def _write(self, line: str) -> None:
        self._stream.write(_START_OF_LINE + line, ending="")
        self._stream.flush()
        self._drawn = line
