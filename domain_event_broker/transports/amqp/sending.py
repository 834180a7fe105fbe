"""Many messages on their way to the broker, in chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ...errors import ConfigurationError
from ...messages import Message
from ..base import PublishResult
from .batches import Batch, Outgoing

# So many messages are handed over at a time, and so many chunks are under way: more than fit in the
# publisher's window, which it then keeps full by itself.
_CHUNK = 250
_CHUNKS_UNDER_WAY = 8


class Sending:
    """Begins with as many chunks as may be under way; `wait` sends the rest. For one thread."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Batch],
        messages: Sequence[Message],
        target: Callable[[Message], Outgoing],
    ) -> None:
        self._publish = publish
        self._rest = _chunks(messages, target)
        self._under_way: deque[Batch] = deque()
        self._fill()

    def wait(self, timeout_seconds: float) -> list[PublishResult]:
        """As `Transport.publish` does."""
        results: list[PublishResult] = []
        last_progress = 0.0
        while self._under_way:
            earlier = self._under_way.popleft()
            results += earlier.wait(timeout_seconds, last_progress)
            last_progress = earlier.last_progress
            self._fill()
        for result in results:
            if isinstance(result.error, ConfigurationError):
                raise result.error
        return results

    def _fill(self) -> None:
        while len(self._under_way) < _CHUNKS_UNDER_WAY:
            chunk = next(self._rest, None)
            if chunk is None:
                return
            self._under_way.append(self._publish(chunk))


def _chunks(
    messages: Sequence[Message], target: Callable[[Message], Outgoing]
) -> Iterator[list[Outgoing]]:
    for start in range(0, len(messages), _CHUNK):
        yield [target(message) for message in messages[start : start + _CHUNK]]
