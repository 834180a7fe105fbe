"""The customers' side: what a browser would send, by real HTTP requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

REQUEST_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]


class Shop:
    """The shop's web server, seen from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Whatever proxy the environment names, the shop is on this machine.
        self._opener = build_opener(ProxyHandler({}))

    def register(self, name: str, email: str) -> Answer:
        return self._post("/register/", name=name, email=email)

    def order(self, customer: int, product: str, quantity: int, card: str) -> Answer:
        return self._post(
            "/orders/", customer=customer, product=product, quantity=quantity, card=card
        )

    def _post(self, path: str, **fields: object) -> Answer:
        body = urlencode(fields).encode()
        try:
            response = self._opener.open(self.url + path, body, REQUEST_TIMEOUT_SECONDS)
        except HTTPError as error:
            response = error
        with response:
            return Answer(response.status, json.load(response))
