"""What ``manage.py publish`` of django-outbox-pattern does with its backlog, by STOMP."""

from django_outbox_pattern.choices import StatusChoice  # type: ignore[import-not-found]
from django_outbox_pattern.factories import factory_producer  # type: ignore[import-not-found]
from django_outbox_pattern.models import Published  # type: ignore[import-not-found]

from .clock import Stopwatch
from .output import tell


def main(count: int) -> None:
    producer = factory_producer()
    watch = Stopwatch()
    producer.publish_message_from_database()
    figures = watch.figures(count)
    sent = Published.objects.filter(status=StatusChoice.SUCCEEDED).count()
    assert sent == count, sent
    tell(**figures)
