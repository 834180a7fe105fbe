"""Makes the tables of a project, for subjects that share its database."""

from .output import tell
from .tables import make_empty_tables


def main() -> None:
    make_empty_tables()
    tell(made=True)
