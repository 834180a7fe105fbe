"""RabbitMQ's management HTTP API, as far as the tests need it."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

REQUEST_TIMEOUT_SECONDS = 60
NOT_FOUND = 404

# What the API sends for one queue, binding, exchange or connection.
Row = dict[str, Any]


class ManagementApi:
    """One node's management API; every answer is what that node knew a moment ago.

    Counts lag by up to the node's statistics interval. Which queues, bindings, exchanges
    and vhosts exist does not lag.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def answers(self) -> bool:
        try:
            self.get("vhosts")
        except OSError:
            return False
        return True

    def get(self, *path: str) -> Any:
        return self.request("GET", *path)

    def get_or_none(self, *path: str) -> Any:
        try:
            return self.get(*path)
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return None

    def put(self, *path: str, body: Row | None = None) -> None:
        self.request("PUT", *path, body=body or {})

    def post(self, *path: str, body: Row | None = None) -> Any:
        return self.request("POST", *path, body=body or {})

    def delete(self, *path: str) -> None:
        """Delete what `path` names; what is gone already is as good as deleted."""
        try:
            self.request("DELETE", *path)
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise

    def request(self, method: str, *path: str, body: Row | None = None) -> Any:
        """Send one request; `path` is given in parts, which are quoted here.

        Raises urllib.error.HTTPError for an answer that is not a success, and another
        OSError where the node does not answer.
        """
        address = "/".join([self.url, "api", *(quote(part, safe="") for part in path)])
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, self._headers, method=method)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
            text = response.read()
        return json.loads(text) if text else None
