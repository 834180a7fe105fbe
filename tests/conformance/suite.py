"""The whole contract. A transport's file subclasses it and gives it a `make_transport` fixture."""

from .concurrency import Concurrency
from .dead_letters import DeadLetters
from .publishing import Publishing
from .receiving import Receiving
from .requeueing import Requeueing
from .retries import Retries
from .routing import Routing
from .settling import Settling
from .subscriptions import Subscriptions


class TransportContract(
    Publishing,
    Routing,
    Subscriptions,
    Receiving,
    Settling,
    Concurrency,
    Retries,
    DeadLetters,
    Requeueing,
):
    pass
