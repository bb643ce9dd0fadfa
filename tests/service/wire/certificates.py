"""Real certificates of an authority that is made for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

WORKER = "lexiseg-worker"


class Authority:
    """Signs certificates into folders, one a name, as LEXISEG_WORKER_TLS wants them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.certificate = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(self.certificate)

    def settings_of(self, name: str, trusts: Authority | None = None) -> dict[str, Any]:
        """Settings of a gateway or worker with a DNS name in its certificate; it may trust another authority."""
        issued = self._authority.issue_cert(name)
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (trusts or self)._authority.cert_pem.write_to_path(folder / "ca.crt")
        (folder / "tls.crt").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(folder / "tls.key")
        return {"worker_tls": folder}
