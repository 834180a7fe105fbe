"""The contract, kept by the AMQP transport on a real RabbitMQ."""

from collections.abc import Iterator

import pytest

from domain_event_broker.transports.amqp import AmqpTransport

from .harness import MakeTransport, transports
from .suite import TransportContract


class TestAmqpTransport(TransportContract):
    @pytest.fixture
    def make_transport(self, broker_url: str) -> Iterator[MakeTransport]:
        with transports(AmqpTransport, broker_url) as make:
            yield make
