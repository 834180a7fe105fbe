"""A private RabbitMQ node with a TLS port beside the one without."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import (
    DEFAULT_VHOST,
    PASSWORD,
    START_TIMEOUT_SECONDS,
    USER,
    RabbitmqNode,
    accepts,
)
from tests.support.releases import Release
from tests.support.waiting import wait_until

NAMES = (LOOPBACK, "localhost")


class TlsRabbitmqNode(RabbitmqNode):
    """As `RabbitmqNode`, with a certificate for this host that its `authority` signed.

    `url_of` stays the way in without TLS, for looking into the node.
    """

    def __init__(
        self,
        release: Release,
        config: Mapping[str, str] | None = None,
        plugins: Sequence[str] = (),
        *,
        demands_certificates: bool = False,
    ) -> None:
        (self.tls_port,) = free_ports(1)
        self._certificates = release.scratch_folder()
        release.give_to_broker(self._certificates)
        #: Whom the node trusts, too.
        self.authority = Authority(self._certificates)
        inside = release.inside
        of_tls = {
            "listeners.ssl.1": f"{LOOPBACK}:{self.tls_port}",
            "ssl_options.cacertfile": inside(self.authority.path),
            "ssl_options.certfile": inside(self._certificates / "broker.pem"),
            "ssl_options.keyfile": inside(self._certificates / "broker.key"),
            "ssl_options.verify": "verify_peer" if demands_certificates else "verify_none",
            "ssl_options.fail_if_no_peer_cert": str(demands_certificates).lower(),
        }
        super().__init__(release, {**of_tls, **(config or {})}, plugins=plugins)
        self.present(self.authority)

    def tls_url_of(self, vhost: str, host: str = LOOPBACK, user: str = f"{USER}:{PASSWORD}") -> str:
        at = f"{user}@" if user else ""
        return f"amqps://{at}{host}:{self.tls_port}/{quote(vhost, safe='')}"

    @property
    def tls_url(self) -> str:
        return self.tls_url_of(DEFAULT_VHOST)

    def present(
        self,
        authority: Authority,
        *names: str,
        not_after: datetime | None = None,
    ) -> None:
        """Have the node present a certificate of `authority` to the connections that follow."""
        issued = authority.issue("broker", *(names or NAMES), not_after=not_after)
        for path in (issued.certificate, issued.key):
            shown = self._certificates / path.name
            if path != shown:
                shutil.copyfile(path, shown)
            self._release.give_to_broker(shown)
        self._release.give_to_broker(self.authority.path)
        if self.is_running:
            self.rabbitmqctl("eval", "ssl:clear_pem_cache().")

    def wait_until_started(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Return when it listens at its TLS port, too."""
        super().wait_until_started(timeout_seconds)
        wait_until(lambda: accepts(self.tls_port), timeout_seconds, "the TLS port did not open")

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._certificates, ignore_errors=True)
