"""A small web project: a view that inserts a row and publishes, in one transaction a request.

Told ``{"requests": n}``, it serves so many, one after the other, and tells how long each took. Told
``{"wait_until_sent": true}``, it tells when the outbox is empty.
"""

import json
import sys
import time

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, data
from .outbox import wait_until_empty
from .output import tell
from .tables import make_empty_tables

CREATED = 201
CREATE_TABLE = (
    "CREATE TABLE account (id bigserial PRIMARY KEY, name text NOT NULL, email text NOT NULL)"
)
INSERT = "INSERT INTO account (name, email) VALUES (%s, %s) RETURNING id"


def register(request: HttpRequest) -> JsonResponse:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (request.POST["name"], request.POST["email"]))
        (account_id,) = cursor.fetchone()
    publish_domain_event(ROUTING_KEY, data(account_id), domain_object_id=str(account_id))
    return JsonResponse({"id": account_id}, status=CREATED)


urlpatterns = [path("register", register)]


def main() -> None:
    make_empty_tables()
    with connection.cursor() as cursor:
        cursor.execute(CREATE_TABLE)
    client = Client()
    tell(ready=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "requests" in order:
            tell(seconds=[request_seconds(client) for _ in range(order["requests"])])
        else:
            wait_until_empty()
            tell(sent_at=time.time())


def request_seconds(client: Client) -> float:
    form = {"name": "Ada Lovelace", "email": "ada.lovelace@example.com"}
    began = time.perf_counter()
    response = client.post("/register", form)
    took_seconds = time.perf_counter() - began
    assert response.status_code == CREATED, response.content
    return took_seconds
