"""Bringing back to its handler what found no queue of it: the orphans that are none (any more).

While a RabbitMQ node before 4.3 boots, and has not all bindings yet, a delayed event that falls due
is routed as if its handler were gone. And who was gone may be there again.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.channel import Channel

from ... import names
from ...errors import TransportClosed
from ...messages import Message
from ...settings import MAX_PREFETCH, Settings
from ..base import Outcome, PublishResult
from .batches import Batch
from .careful_acks import GATHER_SECONDS, CarefulAcks
from .connection import ConnectionThread
from .pika_connection import Connection
from .publisher import Publisher
from .subscription import SubscriptionChannel
from .targets import copy_target
from .wire import to_message

log = logging.getLogger(__name__)

# From the connection on: early, since the broker may have booted just now, then ever less often,
# since others' orphans have to be looked through each time.
_FIRST_SECONDS = 1.0
_SLOWER = 10.0
_MAX_SECONDS = 1_000.0
# How long to wait for the next of what was counted: somebody else may look as well.
_SILENCE_SECONDS = 1.0


class Reclaimer:
    """Looks through the orphans for all channels of a connection, in that connection's thread."""

    def __init__(
        self,
        thread: ConnectionThread,
        settings: Settings,
        publisher: Callable[[], Publisher],
        channels: Mapping[str, SubscriptionChannel],
    ) -> None:
        self._thread = thread
        self._settings = settings
        self._publisher = publisher
        self._channels = channels
        self._pause_seconds = _FIRST_SECONDS
        self._is_opening = False
        self.forget()

    def forget(self) -> None:
        """Look no more: the connection is gone, or another process's. From any thread."""
        self._connection: Connection | None = None

    def begin(self, connection: Connection) -> None:
        self._connection = connection
        # A channel that cost the connection, as one too many does, is not asked for again so soon.
        if not self._is_opening:
            self._pause_seconds = _FIRST_SECONDS
        self._is_opening = False
        self._look_later(connection)

    def _look_later(self, connection: Connection) -> None:
        pause_seconds = self._pause_seconds * random.uniform(0.5, 1.5)
        self._pause_seconds = min(self._pause_seconds * _SLOWER, _MAX_SECONDS)
        self._thread.loop.call_later(pause_seconds, partial(self._look, connection))

    def _look(self, connection: Connection) -> None:
        if connection is not self._connection or not connection.is_open:
            return

        def on_open(channel: Channel) -> None:
            self._is_opening = False
            channel.add_on_close_callback(on_closed)
            look = _Look(self._thread, channel, self._settings, self._publisher, self._channels)
            look.begin()

        def on_closed(channel: Channel, reason: Exception) -> None:
            # Also by the broker: there may be no such queue, or no permission to read it.
            log.debug("Looked through the orphans: %s", reason)
            if connection is self._connection and connection.is_open:
                self._look_later(connection)

        try:
            connection.channel(on_open_callback=on_open)
            self._is_opening = True
        except pika.exceptions.NoFreeChannels:
            self._look_later(connection)


class _Look:
    """One look, on a channel of its own, which it closes; what stays is given back by that."""

    def __init__(
        self,
        thread: ConnectionThread,
        channel: Channel,
        settings: Settings,
        publisher: Callable[[], Publisher],
        channels: Mapping[str, SubscriptionChannel],
    ) -> None:
        self._thread = thread
        self._channel = channel
        self._queue = names.orphans(settings.exchange)
        self._patience_seconds = settings.publish_timeout_seconds
        self._publisher = publisher
        self._channels = channels
        self._acks = CarefulAcks(channel, self._queue)
        self._expected = self._seen = 0
        # By tag, the copies that were not answered yet.
        self._under_way: dict[int, Batch] = {}
        self._last_progress = time.monotonic()
        self._returned: Counter[str] = Counter()

    def begin(self) -> None:
        self._channel.add_on_close_callback(self._on_closed)
        self._channel.queue_declare(self._queue, passive=True, callback=self._on_count)

    def _on_count(self, frame: Any) -> None:
        if not self._channel.is_open:
            return
        count = frame.method.message_count
        if not count:
            self._channel.close()
            return
        self._expected = min(count, MAX_PREFETCH)
        if count > self._expected:
            log.warning(
                "%s holds %d events, of which only %d are looked through; purge it if nobody "
                "needs them.",
                self._queue,
                count,
                self._expected,
            )
        self._last_progress = time.monotonic()
        # Without one, a quorum queue gives 2,000.
        self._channel.basic_qos(prefetch_count=self._expected)
        self._channel.basic_consume(self._queue, on_message_callback=self._on_message)
        self._go_on()

    def _on_message(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._seen += 1
        self._last_progress = time.monotonic()
        self._acks.delivered(method.delivery_tag)
        # What was delayed has its handler's queue as the routing key.
        home = self._channels.get(method.routing_key)
        if home is not None and home.is_established:
            message = to_message(method.routing_key, properties, body)
            self._bring_back(method.delivery_tag, method.routing_key, message)

    def _bring_back(self, tag: int, name: str, message: Message) -> None:
        def on_done(results: list[PublishResult]) -> None:
            # In the publisher's thread. A process that ends leaves the original where it is.
            with suppress(TransportClosed):
                self._thread.post(partial(self._on_copied, tag, name, results[0]))

        with suppress(TransportClosed):
            copy = copy_target(name, message)
            self._under_way[tag] = self._publisher().publish([copy], on_done)

    def _on_copied(self, tag: int, name: str, result: PublishResult) -> None:
        self._last_progress = time.monotonic()
        if self._under_way.pop(tag, None) is not None and result.outcome is Outcome.CONFIRMED:
            self._returned[name] += 1
            self._acks.settled(tag)

    def _go_on(self) -> None:
        """Tell the broker what can be told, and end when there is nothing more to do."""
        if not self._channel.is_open:
            return
        self._acks.send()
        silent_seconds = time.monotonic() - self._last_progress
        is_all_here = self._seen >= self._expected or silent_seconds >= _SILENCE_SECONDS
        is_answered = not self._under_way or silent_seconds >= self._patience_seconds
        if is_all_here and is_answered and not self._acks.is_behind:
            self._end()
        else:
            self._thread.loop.call_later(GATHER_SECONDS, self._go_on)

    def _end(self) -> None:
        for name, count in sorted(self._returned.items()):
            log.warning(
                "%s: taken back from %s, where events go while the broker knows no such queue: %d.",
                name,
                self._queue,
                count,
            )
        self._channel.close()

    def _on_closed(self, channel: Channel, reason: Exception) -> None:
        # The originals go back: a copy that waits, as for a broker that blocks publishers, would be
        # one too many.
        for batch in self._under_way.values():
            batch.is_given_up = True
        self._under_way.clear()
