"""What ``manage.py shell`` holds once it has begun: at once, and with a connection open."""

from django.core.management import call_command

PROGRAM = """
from django.db import connection
from benchmarks.subjects.memory import held_mib
from benchmarks.subjects.output import tell
tell(**held_mib())
connection.ensure_connection()
tell(**held_mib())
"""


def main() -> None:
    call_command("shell", command=PROGRAM, verbosity=0)
