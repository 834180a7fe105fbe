"""The shop's web server, and who places orders there."""

from __future__ import annotations

import urllib.request
from itertools import cycle
from threading import Event

from tests.support.ports import LOOPBACK, free_ports

from .plans import HANDLERS_OF
from .project import PATIENCE_SECONDS, Shop

CREATED = 201
#: Between two requests of a client that goes on until something is over.
PAUSE_SECONDS = 0.1


class Site:
    """The shop's web server, for any number of clients at a time."""

    def __init__(self, shop: Shop) -> None:
        (port,) = free_ports(1)
        self._url = f"http://{LOOPBACK}:{port}"
        self._keys = cycle(HANDLERS_OF)
        self.process = shop.begin("runserver", "--noreload", f"{LOOPBACK}:{port}")
        self.process.wait_for("Quit the server")

    def order(self) -> int:
        """Place an order; return the status of the response."""
        url = f"{self._url}/{next(self._keys)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
            return int(response.status)

    def order_until(self, is_over: Event) -> list[int]:
        """Place orders until then; return the statuses."""
        statuses = []
        while not is_over.wait(PAUSE_SECONDS):
            statuses.append(self.order())
        return statuses
