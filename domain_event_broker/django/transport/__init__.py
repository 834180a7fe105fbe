"""The database transport: the project's own database as its broker.

``database://`` is the database "default", ``database://alias`` another one. Publishing inserts one
row for each bound queue, in the caller's transaction if it has one open there. Consumers claim rows
under a lease; retries and dead letters are updates of the row, so no step can lose or double one.
"""

from .transport import DatabaseTransport

__all__ = ["DatabaseTransport"]
