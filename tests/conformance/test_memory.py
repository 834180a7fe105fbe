"""The contract, kept by the memory transport."""

import secrets
from collections.abc import Iterator

import pytest

from domain_event_broker.transports.memory import MemoryTransport

from .harness import MakeTransport, transports
from .suite import TransportContract


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def make_transport(self) -> Iterator[MakeTransport]:
        with transports(MemoryTransport, f"memory://{secrets.token_hex(8)}") as make:
            yield make
