"""An authority of one test's own, and the certificates that it signs, made by `openssl`."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIGURATION = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[signed]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for servers and clients on loopback; `certificate` is its own."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            if os.environ.get("CI"):
                pytest.fail("openssl is missing; in CI it must not be")
            pytest.skip("openssl is not installed")
        self._folder = folder
        folder.mkdir(parents=True)
        (folder / "openssl.cnf").write_text(_CONFIGURATION)
        self.certificate = self._make("authority", "authority").certificate

    def sign(self, name: str) -> Signed:
        """A certificate for `name`."""
        return self._make(name, "signed", "-CA", "authority.pem", "-CAkey", "authority.key")

    def _make(self, name: str, kind: str, *options: str) -> Signed:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", kind, "-subj", f"/CN={name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem", *options),
            ],
            cwd=self._folder,
            check=True,
            capture_output=True,
        )
        return Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
