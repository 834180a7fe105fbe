"""What somebody does who looks at dead letters: group them, list one page, count."""

from io import StringIO

from django.core.management import call_command

from .clock import Stopwatch
from .event import HANDLER
from .output import tell


def main(kinds: int) -> None:
    command("--list")  # imports, and connects
    tell(
        group_ms=timed("--group", lines=kinds),
        page_ms=timed("--list", lines=51),
        filtered_ms=timed("--list", "--error", "ValueError", "--text", "LOCALE", lines=51),
    )


def timed(*options: str, lines: int) -> float:
    watch = Stopwatch()
    written = command(*options)
    milliseconds = watch.seconds * 1000
    assert written.count("\n") == lines, written
    return milliseconds


def command(*options: str) -> str:
    output = StringIO()
    call_command("replay_dead_letters", HANDLER, *options, stdout=output)
    return output.getvalue()
