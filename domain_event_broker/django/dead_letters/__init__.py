"""Dead letters in the project's database: look, understand, and repair.

    collect         move them from the broker's queue into the table
    Selection       which of them: by handler, id, routing key, error, text, age
    count, waiting  how many, and their rows; groups: by kind of failure
    replay          have them handled again; discard, purge: or not
    export          as lines of JSON; import_lines: back

All but `collect` work on the table alone. Each function may be called from any thread.
"""

from .collecting import collect
from .files import UnreadableLine, export, import_lines
from .groups import Group, groups
from .selecting import Selection, count, waiting
from .settling import Decided, discard, purge, replay

__all__ = [
    "Decided",
    "Group",
    "Selection",
    "UnreadableLine",
    "collect",
    "count",
    "discard",
    "export",
    "groups",
    "import_lines",
    "purge",
    "replay",
    "waiting",
]
