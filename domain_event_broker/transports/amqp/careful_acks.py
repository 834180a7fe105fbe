"""Acknowledging to a queue no faster than it takes it, so that nothing is lost at the end."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pika
from pika.channel import Channel

from .acknowledgements import Acknowledgements

# A quorum queue takes 32 acknowledgements at a time (`quorum_commands_soft_limit`); those beyond,
# that it had no time for, are lost when the channel closes, and their messages come back. So they
# are sent in few frames, and no more of these than so many until the queue has them.
_MOST_FRAMES = 16
#: How long to wait for further ones before `CarefulAcks.send`, for the sake of few frames.
GATHER_SECONDS = 0.05


class CarefulAcks:
    """Of what one channel takes from one queue. For the connection's thread only."""

    def __init__(self, channel: Channel, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._acks = Acknowledgements()
        # Frames since the queue was seen to have all of them.
        self._is_catching_up, self._under_way = False, 0
        channel.add_callback(self._on_caught_up, [pika.spec.Basic.GetEmpty], one_shot=False)

    def delivered(self, tag: int) -> None:
        self._acks.delivered(tag)

    def settled(self, tag: int) -> None:
        """Note that `tag` can be acknowledged; `send` tells the broker."""
        self._acks.settled(tag)

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be sent: the channel is not to be closed yet."""
        return self._acks.has_settled or self._is_catching_up

    def send(self) -> None:
        """Send what the queue can take now; the rest follows by itself."""
        if not self._channel.is_open or self._is_catching_up:
            return
        for tag, multiple in islice(self._acks.take(), _MOST_FRAMES - self._under_way):
            self._channel.basic_ack(tag, multiple=multiple)
            self._under_way += 1
        if self._under_way >= _MOST_FRAMES:
            self._catch_up()

    def _catch_up(self) -> None:
        """Wait until the queue has the acknowledgements, as it does before it gives a message."""
        self._is_catching_up = True
        self._channel.basic_get(self._queue, self._on_message_instead)

    def _on_message_instead(self, channel: Channel, method: Any, *content: Any) -> None:
        if channel.is_open:
            channel.basic_nack(method.delivery_tag, requeue=True)
        self._on_caught_up(method)

    def _on_caught_up(self, answer: Any) -> None:
        self._is_catching_up, self._under_way = False, 0
        self.send()
