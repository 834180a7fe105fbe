"""An authority of the tests' own, and the certificates that it signs, in files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

#: For a certificate that has expired.
YESTERDAY = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, and its private key."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """The keys of ``TLS`` that present it."""
        return {"CERTIFICATE": str(self.certificate), "KEY": str(self.key)}


class Authority:
    """A certificate authority whose own certificate is in a file in `folder`."""

    def __init__(self, folder: Path, *, rsa: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._key_type = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        self._authority = trustme.CA(key_type=self._key_type)
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.path))

    def issue(
        self,
        file_name: str,
        *names: str,
        common_name: str | None = None,
        not_after: datetime | None = None,
    ) -> Identity:
        """Sign a certificate for `names`; its files replace those of the same `file_name`."""
        issued = self._authority.issue_cert(
            *names, common_name=common_name, not_after=not_after, key_type=self._key_type
        )
        identity = Identity(self._folder / f"{file_name}.pem", self._folder / f"{file_name}.key")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        identity.certificate.write_bytes(chain)
        identity.key.write_bytes(issued.private_key_pem.bytes())
        return identity
