"""Publishing straight to RabbitMQ: so many batches of one size, each until it is confirmed."""

from collections.abc import Awaitable, Callable

from .clock import Stopwatch
from .memory import peak_mib
from .output import tell

# The connection is opened with them, too.
WARM_UP_EVENTS = 100


def measure(send: Callable[[int], object], size: int, batches: int) -> None:
    """Tell what `batches` calls of `send` take; it is given how many events to publish."""
    send(WARM_UP_EVENTS)
    watch = Stopwatch()
    for _ in range(batches):
        send(size)
    end(watch, size * batches)


async def measure_awaited(
    send: Callable[[int], Awaitable[object]], size: int, batches: int
) -> None:
    """The same of a coroutine function."""
    await send(WARM_UP_EVENTS)
    watch = Stopwatch()
    for _ in range(batches):
        await send(size)
    end(watch, size * batches)


def end(watch: Stopwatch, count: int) -> None:
    tell(**watch.figures(count), published=WARM_UP_EVENTS + count, peak_mib=peak_mib())
