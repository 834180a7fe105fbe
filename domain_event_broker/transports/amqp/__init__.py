"""RabbitMQ. Nothing outside this package imports pika."""

from .transport import AmqpTransport

__all__ = ["AmqpTransport"]
