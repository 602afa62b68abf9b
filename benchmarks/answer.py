"""Answering: the whole log, a query, the same unchanged, and while events arrive."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import quote

from benchmarks import apply, events, programs, services
from benchmarks.figures import Row, WrongResult
from benchmarks.programs import Missing
from benchmarks.scale import Scale
from benchmarks.services import Service
from benchmarks.store import Store, running

OURS, CAREFUL, DICTS = "etlog serve", "FastAPI, bytes joined", "FastAPI, decoded dicts"
WEBDIS, LIMIT, LIMIT_304 = "webdis", "uvicorn, constant bytes", "uvicorn, constant 304"

#: Events in each of the two lists.
LENGTH = 1000

WHOLE = "/model/etl/log"
QUERY = "/model/etl/log?kind=AssetSetSaved&window=24h&limit=10"

#: Events a second that arrive while answers are measured.
ARRIVING = 5000


def rows(scale: Scale) -> Iterator[Row]:
    """Everything about answers; the store's file is not written by reads, so it makes no difference here."""
    with running(append_only=False) as store:
        fill(store)
        yield _whole(scale, store)
        yield _query(scale, store)
        yield from _unchanged(scale, store)
        yield _while_arriving(scale, store)


def fill(store: Store) -> None:
    """A full log of recent events, applied by our consumer."""
    start = time.time_ns() - 3600 * 10**9
    texts = [events.text(size, start) for size in range(2 * LENGTH)]
    apply.fill(store, texts)
    apply.lay_out(store, len(texts))
    with programs.ready("ours/apply.py", {"url": store.url, "log": services.LOG, "cap": LENGTH}) as consumer:
        consumer.go()
        apply.wait_applied(store, len(texts), consumer)
    apply.check(store, texts)


def careful(store: Store) -> AbstractContextManager[Service]:
    """The peer that answers bytes."""
    return services.uvicorn("peers.fastapi_careful:app", "peers", STORE_URL=store.url, PREFIX=apply.PREFIX)


def dicts(store: Store) -> AbstractContextManager[Service]:
    """The peer that answers dicts."""
    return services.uvicorn("peers.fastapi_dicts:app", "peers", STORE_URL=store.url, PREFIX=apply.PREFIX)


def constant(store: Store, body: bytes, **variables: str) -> AbstractContextManager[Service]:
    """The limit, with this body."""
    path = store.folder / "body"
    path.write_bytes(body)
    return services.uvicorn("shared.constant:app", "ours", BODY=str(path), **variables)


def expected(store: Store, *, query: bool) -> bytes:
    """What the store's lists and counters make as an answer, put together without any of the contestants."""
    data: dict[str, Any] = {}
    for category in ("allocation", "asset"):
        texts = store.client.lrange(apply.KEYS.log(category), 0, -1)
        data[category] = [json.loads(text) for text in texts if not query or category == "asset"]
        if query:
            data[category] = data[category][-10:]
    counters = {
        name.decode(): int(number) for name, number in sorted(store.client.hgetall(apply.KEYS.counters).items())
    }
    data["counters"] = {name: number for name, number in counters.items() if not query or name == "AssetSetSaved"}
    return json.dumps({"code": 200, "data": data}, separators=(",", ":")).encode()


def _whole(scale: Scale, store: Store) -> Row:
    row = Row(f"answer the whole log, 2 x {LENGTH:,} events, {services.CONNECTIONS} connections")
    body = expected(store, query=False)
    _contest(
        scale, store, row, WHOLE, body, {OURS: services.ours, CAREFUL: careful, DICTS: dicts, WEBDIS: services.webdis}
    )
    row.ratio(OURS, LIMIT, least=0.6)
    row.ratio(OURS, CAREFUL, least=5.0)
    return row


def _query(scale: Scale, store: Store) -> Row:
    row = Row(f"answer {QUERY.partition('?')[2]}")
    _contest(scale, store, row, QUERY, expected(store, query=True), {OURS: services.ours, CAREFUL: careful})
    row.ratio(OURS, LIMIT, least=0.35)
    return row


def _contest(
    scale: Scale,
    store: Store,
    row: Row,
    path: str,
    body: bytes,
    contestants: dict[str, Callable[[Store], AbstractContextManager[Service]]],
) -> None:
    """All of `contestants`, then the limit with the same bytes, round by round; they run together, one is asked."""
    with ExitStack() as stack:
        running_now = {}
        for name, start in contestants.items():
            try:
                running_now[name] = stack.enter_context(start(store))
            except Missing as e:
                row.notes.append(f"{name} is missing: {e}")
        running_now[LIMIT] = stack.enter_context(constant(store, body))
        try:
            for _ in range(scale.rounds):
                for name, service in running_now.items():
                    if name == WEBDIS:  # it gives a list at a time: the log takes two answers
                        value = _of_webdis(service, store, scale.seconds) / 2
                    else:
                        require_same(name, service.get(path)[2], body)
                        length = None if name == DICTS else len(body)
                        value = services.load(service, path, scale.seconds, length)
                    row.add(name, value, "answers/s", ours=name == OURS)
        except Missing as e:
            row.notes.append(f"not measured: {e}")


def _of_webdis(service: Service, store: Store, seconds: float) -> float:
    path = f"/LRANGE/{quote(apply.KEYS.log('asset'), safe='')}/0/-1"
    items = json.loads(service.get(path)[2])["LRANGE"]
    if [item.encode() for item in items] != store.client.lrange(apply.KEYS.log("asset"), 0, -1):
        raise WrongResult("webdis answered another list")
    return services.load(service, path, seconds, None)


def require_same(name: str, answered: bytes, body: bytes) -> None:
    if name == DICTS:
        answered = json.dumps(json.loads(answered), separators=(",", ":")).encode()
    if answered != body:
        raise WrongResult(f"{name} answered {len(answered)} other bytes than the {len(body)} expected")


def _unchanged(scale: Scale, store: Store) -> Iterator[Row]:
    with services.ours(store) as service, constant(store, b"-", STATUS="304") as limit:
        for path in (WHOLE, QUERY):
            row = Row(f"the same with If-None-Match: {path.partition('?')[2] or 'the whole log'}")
            tag = service.get(path)[1]["etag"]
            try:
                for _ in range(scale.rounds):
                    for name, asked in ((OURS, service), (LIMIT_304, limit)):
                        status, _, body = asked.get(path, **{"If-None-Match": tag})
                        if status != 304 or body:
                            raise WrongResult(f"{name} answered {status} with {len(body)} bytes instead of 304")
                        rate = services.load(asked, path, scale.seconds, 0, **{"If-None-Match": tag})
                        row.add(name, rate, "answers/s", ours=name == OURS)
            except Missing as e:
                row.notes.append(f"not measured: {e}")
            row.ratio(OURS, LIMIT_304, least=0.5)
            yield row


def _while_arriving(scale: Scale, store: Store) -> Row:
    row = Row(f"answer the whole log while {ARRIVING:,} events/s arrive")
    seconds = max(scale.seconds, 1)
    try:
        for _ in range(scale.rounds):
            for name, start in ((OURS, services.ours), (CAREFUL, careful)):
                fill(store)
                rate = _under_arrivals(store, start, seconds)
                row.add(name, rate, "answers/s", ours=name == OURS)
    except Missing as e:
        row.notes.append(f"not measured: {e}")
    row.ratio(OURS, CAREFUL, least=3.0)
    return row


def _under_arrivals(store: Store, start: Callable[[Store], AbstractContextManager[Service]], seconds: float) -> float:
    count = int(ARRIVING * (seconds + 1))
    job = {"url": store.url, "log": services.LOG, "folder": store.folder / "spool", "rate": ARRIVING, "count": count}
    with services.consumer(store), start(store) as service, programs.ready("ours/steady.py", job) as emitter:
        before = sum(map(int, store.client.hvals(apply.KEYS.counters)))
        emitter.go()
        rate = services.load(service, WHOLE, seconds, None)
        emitter.result()
        apply.wait_applied(store, before + count, emitter)
        require_same("the service at last", service.get(WHOLE)[2], expected(store, query=False))
    return rate
