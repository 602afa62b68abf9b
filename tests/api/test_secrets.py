"""No answer, no file and no line of the log holds a password or a token."""

import io
import zipfile

import httpx
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.apis import api_process, apply
from support.samples import saved
from support.servers import Server

PASSWORD, USER = "the-pass-word-of-the-store", "the-user-of-the-store"
TOKENS = ("the-first-token-of-all", "the-second-token-of-all")
SECRETS = [secret.encode() for secret in (PASSWORD, USER, *TOKENS)]

PATHS = [
    *(
        "/model/etl/log",
        "/model/etl/log?window=x",
        "/model/etl/coverage",
        "/model/etl/status",
        "/model/etl/bugreport",
        "/metrics",
    ),
    *("/readyz", "/healthz", "/docs", "/openapi.json", "/nothing"),
]


def everything(url: str, token: str) -> list[bytes]:
    """All that the API says: headers, bodies, the files in the zip, and the beginning of the live log."""
    found = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
        for path in PATHS:
            answer = client.get(path)
            found += [answer.content, str(answer.headers.raw).encode()]
            if path.endswith("bugreport"):
                with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                    found += [archive.read(name) for name in archive.namelist()]
                    assert len(archive.namelist()) == 8
        with client.stream("GET", "/model/etl/log/stream") as stream:
            found.append(next(stream.iter_bytes()))
    return found


def test_no_secret_comes_out(server: Server, keys: Keys) -> None:
    """While all is well, while the store refuses the password, and while it is away."""
    apply(server.url, keys, [saved()])
    with connect(server.url, part="test") as admin:
        admin.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all")
        url = server.url.replace("redis://", f"redis://{USER}:{PASSWORD}@")
        settings = {"api_token": ",".join(TOKENS), "log_level": "DEBUG", "log_format": "json"}
        with api_process(url, name=keys.name, **settings) as replica:
            found = everything(replica.url, TOKENS[0])
            assert any(b'"code":200,"data":{"allocation":[{' in each for each in found)

            admin.execute_command("ACL", "SETUSER", USER, "resetpass", ">another")
            admin.execute_command("CLIENT", "KILL", "USER", USER)
            found += everything(replica.url, TOKENS[1])
            assert any(b"invalid username-password pair" in each for each in found)

            server.kill()
            found += everything(replica.url, TOKENS[1])
            found.append(httpx.get(f"{replica.url}/model/etl/log").content)
            assert any(b"Connection refused" in each or b"Connect call failed" in each for each in found)

            replica.stop()
            found.append(replica.command.printed.encode())
    assert b"The store is away" in found[-1]
    for each in found:
        assert not any(secret in each for secret in SECRETS)
