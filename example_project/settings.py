"""Settings of the example shop, read from the environment; each has a default that works."""

from pathlib import Path
from typing import Any

import django
import environ

BASE_DIR = Path(__file__).resolve().parent

env = environ.Env()

DEBUG = env.bool("DEBUG", default=False)
# Fit for an example on this machine only: a deployed project sets a secret one.
SECRET_KEY = env.str("SECRET_KEY", default="insecure-example-key")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "domain_event_broker.django",
    "example_project.shop",
    "example_project.reporting",
]
# The shop knows no cookies, hence no sessions and nothing that a forged request could use.
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "example_project.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True


def database(name: str, default: str) -> dict[str, Any]:
    """The database that the environment variable `name` gives as a URL."""
    config: dict[str, Any] = env.db_url(name, default=default)
    if config["ENGINE"].endswith("sqlite3"):
        # The web server and the subscriber write at the same time: readers do not block the
        # writer, and who wants to write waits for its turn at the transaction's start.
        # A commit is not awaited on the disk: it survives the process however that ends. A power
        # cut may undo the last transactions, but each of them whole: data and events together.
        config["OPTIONS"] = {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        }
    return config


DATABASES = {
    "default": database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'shop.sqlite3'}"),
    # Unused by the shop; the test suite publishes with `using="other"`.
    "other": database("OTHER_DATABASE_URL", "sqlite://:memory:"),
}

# By default the database above carries the events. For RabbitMQ, say where it is:
# amqp://user:password@host:5672/vhost. An empty URL means: no broker, publish nothing.
# Django's debug page shows the environment, but hides variables with SECRET in their name.
_BROKER_URL = env.str("BROKER_SECRET_URL", default="database://")
DOMAIN_EVENT_BROKER = {
    "URL": _BROKER_URL or None,
    # The prefix of the handlers' names, which are the names of their queues.
    "SERVICE": "shop",
}

# Product -> the warehouse that has it. An order for any other product cannot be handled until
# this is corrected: SHOP_WAREHOUSES=book=north,pen=south,lamp=east
SHOP_WAREHOUSES = env.dict("SHOP_WAREHOUSES", default={"book": "north", "pen": "south"})

DEFAULT_FROM_EMAIL = "shop@example.com"
# The folder that mails are written to, as files; without one they are printed.
MAIL_FOLDER = env.str("MAIL_FOLDER", default="")
_backend = f"django.core.mail.backends.{'filebased' if MAIL_FOLDER else 'console'}.EmailBackend"
_options = {"file_path": MAIL_FOLDER} if MAIL_FOLDER else {}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend, "OPTIONS": _options}}
else:
    EMAIL_BACKEND = _backend
    EMAIL_FILE_PATH = MAIL_FOLDER
