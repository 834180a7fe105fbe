"""The errors of this package, as one tree that answers "what now?".

    DomainEventBrokerError
    ├── ConfigurationError           fix the configuration
    │   ├── SettingsError              a setting is wrong (also ValueError)
    │   ├── HandlerError               a handler's registration is wrong (also ValueError)
    │   ├── AccessRefused              credentials, virtual host or permission
    │   ├── TlsFailed                  a certificate was refused, or one side speaks no TLS
    │   └── TopologyMismatch           an exchange or queue exists with other arguments
    ├── EventError                   fix the event
    │   ├── InvalidEvent               cannot be published as it is (also ValueError)
    │   │   └── InvalidEventType         a part of it has a wrong type (also TypeError)
    │   ├── EventTooLarge              more than MAX_EVENT_BYTES (also ValueError)
    │   ├── InvalidRetry               Retry outside its range (also ValueError)
    │   ├── UnreadableEvent            what arrived is no event (also ValueError)
    │   └── UnroutableEvent            no queue is bound for it, and UNROUTABLE is "raise"
    ├── TransportError               try again
    │   ├── BrokerUnavailable          no connection
    │   │   └── LimitReached             the broker allows no more connections, channels or queues
    │   ├── PublishRefused             the broker said no
    │   ├── PublishUnconfirmed         no answer in time: it may or may not have arrived
    │   └── TransportClosed            used after it was closed
    └── ReplayError                  look at the dead letter
        ├── InvalidReplayAction        the callback returned no known action (also ValueError)
        └── UnknownQueue               no such handler's queue or dead letters (also LookupError)

A library's own error (pika's, the database's) is the ``__cause__``, unless it quotes a password.
"""

from __future__ import annotations


class DomainEventBrokerError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(DomainEventBrokerError):
    """Fix the configuration: trying again does not help."""


class SettingsError(ConfigurationError, ValueError):
    """A setting, or a broker URL, is wrong."""


class HandlerError(ConfigurationError, ValueError):
    """A handler cannot be registered as it was asked for."""


class AccessRefused(ConfigurationError):
    """The broker knows us and refuses: credentials, virtual host or a permission."""


class TlsFailed(ConfigurationError):
    """The broker's certificate or ours was refused, or one side speaks TLS and the other not.

    A subscriber that runs already tries again all the same: a certificate may be being renewed.
    """


class TopologyMismatch(ConfigurationError):
    """An exchange or queue exists with other arguments; it is never deleted or redeclared."""


class EventError(DomainEventBrokerError):
    """Fix the event: trying again does not help."""


class InvalidEvent(EventError, ValueError):
    """The event cannot be published as it is."""


class InvalidEventType(InvalidEvent, TypeError):
    """A part of the event has a type that cannot be published."""


class EventTooLarge(EventError, ValueError):
    """The encoded event is larger than ``MAX_EVENT_BYTES``."""


class InvalidRetry(EventError, ValueError):
    """A ``Retry`` whose delay is no number of seconds from 0 to 30 days."""


class UnreadableEvent(EventError, ValueError):
    """What arrived cannot be read as an event."""


class UnroutableEvent(EventError):
    """No queue is bound for the event's routing key, and ``UNROUTABLE`` is ``"raise"``."""


class TransportError(DomainEventBrokerError):
    """Try again: the event itself and the configuration may be fine."""


class BrokerUnavailable(TransportError):
    """There is no connection to the broker."""


class LimitReached(BrokerUnavailable):
    """The broker allows no more connections, channels or queues."""


class PublishRefused(TransportError):
    """The broker answered that it did not take the event (a nack)."""


class PublishUnconfirmed(TransportError):
    """The broker did not confirm in time: the event may or may not have arrived.

    Publishing the same event again, with the same ``uuid_string``, is safe.
    """


class TransportClosed(TransportError):
    """The publisher, subscriber or transport was closed before."""


class ReplayError(DomainEventBrokerError):
    """Look at the dead letter."""


class InvalidReplayAction(ReplayError, ValueError):
    """A replay callback returned something else than ``RETRY``, ``LEAVE`` or ``DISCARD``."""


class UnknownQueue(ReplayError, LookupError):
    """The handler has no queue, or no dead-letter queue, on this broker."""
