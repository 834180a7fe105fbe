"""What the app does when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from .. import publishing as core_publishing
from . import conf


class DomainEventsConfig(AppConfig):
    name = "domain_event_broker.django"
    #: Permanent: the tables are named after it.
    label = "domain_event_broker"
    verbose_name = "Domain event broker"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the core with the project; nothing is parsed, and nothing connects to a broker.

        Bad settings and handlers are told by ``manage.py check``. Safe to be called again.
        """
        from . import checks, encoding, publishing

        conf.install()
        encoding.install()
        checks.install()
        core_publishing.set_default_publish(publishing.publish_events)
        autodiscover_modules("domain_events")
