"""Users of the broker who exist nowhere else, so that its log tells of each of their tries."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from tests.support.ports import LOOPBACK
from tests.support.rabbitmq import RabbitmqNode

NOTHING = "^$"


@dataclass(frozen=True)
class Account:
    name: str
    password: str

    def url(self, node: RabbitmqNode, vhost: str, password: str | None = None) -> str:
        secret = self.password if password is None else password
        return f"amqp://{self.name}:{secret}@{LOOPBACK}:{node.port}/{quote(vhost, safe='')}"

    def save(self, node: RabbitmqNode, password: str | None = None) -> None:
        """Make the user, or give it another password."""
        secret = self.password if password is None else password
        node.management.put("users", self.name, body={"password": secret, "tags": ""})


def allow(node: RabbitmqNode, account: Account, vhost: str, **permissions: str) -> None:
    """Let the account do everything, but for what is given."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    body = {**everything, **permissions}
    node.management.put("permissions", vhost, account.name, body=body)


def times_logged(node: RabbitmqNode, *words: str) -> int:
    """How many lines of the broker's log hold all these words."""
    lines = node.log_path.read_text(errors="replace").splitlines()
    return sum(all(word in line for word in words) for line in lines)
