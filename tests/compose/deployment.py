"""The Compose file, brought up as a project of its own, and what can be asked of it and done to it."""

import json
import os
import re
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).parent.parent.parent
PROJECT = "etlog-compose-test"

#: Where the Compose file publishes the load balancer and Prometheus.
BALANCER, PROMETHEUS = "http://127.0.0.1:9090", "http://127.0.0.1:9091"

#: The path of the whole log.
LOG = "/model/etl/log?limit=1000"

#: Seconds. A new container on a busy machine may take this long to be well.
PATIENCE = 180


class Deployment:
    """All containers of the Compose file, with an API token that only this run knows."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(24)
        self._environment = {**os.environ, "ETLOG_API_TOKEN": self._token}

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What `docker compose …` prints. Raises `RuntimeError` with its complaint when it fails."""
        done = subprocess.run(
            self._command(*arguments), cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"docker compose {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Start what is not running, and wait until all of it is well."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(PATIENCE), *arguments)

    def emitter(self) -> subprocess.Popen[str]:
        """`etlog emit` in a container of its own, which publishes one event for each line that it is given."""
        return subprocess.Popen(
            self._command("run", "--rm", "--no-deps", "--no-TTY", "sample", "emit", "--file", "-"),
            cwd=ROOT,
            env=self._environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of `service`, the oldest number first."""
        lines = self.compose("ps", "--format", "json", service).splitlines()
        found = sorted((json.loads(line) for line in lines), key=lambda container: str(container["Name"]))
        return [str(container["ID"]) for container in found]

    def well(self, service: str) -> int:
        """How many containers of `service` are healthy."""
        lines = self.compose("ps", "--format", "json", service).splitlines()
        return sum(json.loads(line)["Health"] == "healthy" for line in lines)

    def inside(self, container: str, *command: str) -> str:
        """What `command` prints in a running container. Raises `CalledProcessError` when it fails."""
        command = ("docker", "exec", container, *command)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def kill(self, container: str) -> None:
        """SIGKILL for every process of a container, as an out-of-memory killer does it, so that it is restarted."""
        subprocess.run(["docker", "exec", container, "sh", "-c", "kill -9 -1"], capture_output=True, check=False)

    def restarts(self, container: str) -> int:
        """How often a container was restarted."""
        command = ["docker", "inspect", "--format", "{{.RestartCount}}", container]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def fetch(self, address: str, *, token: bool = True) -> bytes:
        """The body of an answer. Raises `OSError` when there is none, or none with status 200."""
        headers: Mapping[str, str] = {"Authorization": f"Bearer {self._token}"} if token else {}
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def log(self) -> bytes:
        """The whole log, by way of the load balancer."""
        return self.fetch(BALANCER + LOG)

    def counters(self) -> dict[str, int]:
        """Events applied, by kind."""
        found: dict[str, int] = json.loads(self.log())["data"]["counters"]
        return found

    def status(self) -> Any:
        """The status, by way of the load balancer; nothing where it cannot be had at present."""
        try:
            return json.loads(self.fetch(f"{BALANCER}/model/etl/status"))["data"]
        except OSError:
            return None

    def ask(self, replica: str, path: str) -> bytes:
        """What one replica of the API answers, asked inside its container."""
        ask = (
            "import os, sys; from urllib.request import Request, urlopen;"
            "headers = {'Authorization': 'Bearer ' + os.environ['ETLOG_API_TOKEN']};"
            "print(urlopen(Request('http://127.0.0.1:9090' + sys.argv[1], headers=headers)).read().decode(), end='')"
        )
        return self.inside(replica, "python", "-c", ask, path).encode()

    def telling(self, watchers: list[str]) -> list[str]:
        """Those of the watchers that tell, of whatever log; one that does not answer does not tell."""
        ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9101/metrics').read().decode())"
        found = []
        for watcher in watchers:
            command = ("docker", "exec", watcher, "python", "-c", ask)
            printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            if re.search(r"^etlog_watch_active\{.*\} 1\.0$", printed, re.MULTILINE):
                found.append(watcher)
        return found

    def queried(self, question: str) -> list[Any]:
        """What Prometheus answers, with a minute wherever Grafana would decide on a span."""
        question = question.replace("$__rate_interval", "1m")
        answer = json.loads(self.fetch(f"{PROMETHEUS}/api/v1/query?{urlencode({'query': question})}"))
        found: list[Any] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {sample["metric"]["alertname"] for sample in self.queried('ALERTS{alertstate="firing"}')}

    def refuses_strangers(self) -> bool:
        """Whether the API requires the token."""
        try:
            self.fetch(f"{BALANCER}/model/etl/log", token=False)
        except urllib.error.HTTPError as e:
            return e.code == 401
        return False

    def _command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", "--project-name", PROJECT, *arguments]
