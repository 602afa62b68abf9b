"""Servers that let in only the users of `deploy/redis`, or only by TLS, made for one test."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from support.certificates import Authority, Signed
from support.servers import Server

#: The folder that a deployment takes its users from.
REDIS = Path(__file__).parents[2] / "deploy" / "redis"

#: Passwords, with signs that an address must escape.
PASSWORDS = {f"etlog-{part}": f"{part}/secret@of #16?" for part in ("producer", "consumer", "api", "watch", "admin")}

#: A user who may do everything, to look at the server from outside.
ROOT = ("root", "the-password-of-root")


def redis_server() -> str:
    """The distribution's Redis, the oldest version that etlog works with. Skips the test without it, fails in CI."""
    found = shutil.which("redis-server")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is missing; in CI it must not be")
        pytest.skip("redis-server is not installed")
    return found


class GuardedServer(Server):
    """A server with the users of `users.acl`, and `ROOT`."""

    def start(self) -> None:
        """Write the file of users, then start."""
        secrets = self.folder / "secrets"
        secrets.mkdir(exist_ok=True)
        for user, password in PASSWORDS.items():
            (secrets / user).write_text(password + "\n")
        made = subprocess.run([REDIS / "make-users", secrets], check=True, capture_output=True, text=True)
        users = self.folder / "users.acl"
        users.write_text(f"{made.stdout}user {ROOT[0]} on >{ROOT[1]} ~* &* +@all\n")
        self._options = ("--aclfile", str(users), "--appendonly", "yes")
        self.url = self.url_of(*ROOT)
        super().start()

    def url_of(self, user: str, password: str | None = None) -> str:
        """The address with the user's name and password in it."""
        secret = PASSWORDS[user] if password is None else password
        return f"redis://{user}:{quote(secret, safe='')}@127.0.0.1:{self.port}/0"


class TlsServer(Server):
    """A server that speaks TLS alone, and only to those with a certificate of its authority."""

    def __init__(self, authority: Authority, *options: str) -> None:
        self._authority, self._given = authority, options
        self._own, self._client = authority.sign("store"), authority.sign("client")
        super().__init__(binary=redis_server())

    def start(self) -> None:
        """Start with the certificates."""
        self._options = (
            *("--port", "0", "--tls-port", str(self.port), "--appendonly", "yes"),
            *("--tls-ca-cert-file", str(self._authority.certificate)),
            *("--tls-cert-file", str(self._own.certificate), "--tls-key-file", str(self._own.key)),
            *self._given,
        )
        self.url = self.url_of(self._client)
        super().start()

    def url_of(self, client: Signed | None, authority: Authority | None = None) -> str:
        """The address for who has the certificate `client`, or none, and trusts `authority`, or the right one."""
        options = {"ssl_ca_certs": str((authority or self._authority).certificate)}
        if client is not None:
            options |= {"ssl_certfile": str(client.certificate), "ssl_keyfile": str(client.key)}
        return f"rediss://127.0.0.1:{self.port}/0?{urlencode(options)}"
