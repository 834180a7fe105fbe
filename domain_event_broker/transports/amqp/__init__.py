"""RabbitMQ. Nothing outside this package imports pika."""

import logging

from .transport import AmqpTransport

# pika reports each failed attempt to connect in seven lines at ERROR, and a returned message with
# its body. What matters of it is said by this package, once. Whoever wants more sets that level.
_pika_log = logging.getLogger("pika")
if _pika_log.level == logging.NOTSET:
    _pika_log.setLevel(logging.CRITICAL)

__all__ = ["AmqpTransport"]
