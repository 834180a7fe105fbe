"""The contract, kept by the database transport, on whatever database the tests run on."""

from collections.abc import Iterator

import pytest

from domain_event_broker.django.transport import DatabaseTransport

from .harness import MakeTransport, transports
from .suite import TransportContract


@pytest.mark.django_db(transaction=True)
class TestDatabaseTransport(TransportContract):
    @pytest.fixture
    def make_transport(self, transactional_db: None) -> Iterator[MakeTransport]:
        with transports(DatabaseTransport, "database://") as make:
            yield make
