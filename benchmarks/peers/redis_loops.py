"""redis-py: the careful loop (batches, coalesced), the naive one (each event by itself), or one that only reads."""

from collections import Counter, defaultdict
from datetime import datetime
from typing import Annotated, Literal

import msgspec
import orjson
import redis
from shared import turn

job = turn.arguments()
client = redis.Redis.from_url(job["url"], protocol=2)
STREAM, GROUP, CAP, COUNT = job["stream"], "group", job["cap"], job["count"]
CATEGORIES = {"AllocationSet": "allocation", "AssetSet": "asset"}
client.xgroup_create(STREAM, GROUP, "0", mkstream=True)


def log_of(kind: str) -> str:
    """The list that an event of this kind goes to."""
    prefix = kind[: kind.index("Set") + 3]
    return job["prefix"] + "log:" + CATEGORIES[prefix]


class Window(msgspec.Struct):
    """The window of a set."""

    start: datetime
    end: datetime


class Metadata(msgspec.Struct):
    """What the kinds of this measurement carry."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    window: Window


class Event(msgspec.Struct):
    """An event as somebody declares it who wants wrong ones noticed; quicker than `orjson.loads`, which checks less."""

    kind: Literal["AllocationSetSaved", "AssetSetSaved"]
    metadata: Metadata
    time: datetime


decode = msgspec.json.Decoder(Event).decode


def careful() -> None:
    """A thousand at a time, validated, one push a list, one sum a kind, all acknowledged in the same transaction."""
    left = COUNT
    while left > 0:
        answer = client.xreadgroup(GROUP, "me", {STREAM: ">"}, count=1000, block=500)
        if not answer:
            continue
        [[_, entries]] = answer
        logs, counters = defaultdict(list), Counter()
        for _, fields in entries:
            raw = fields[b"event"]
            event = decode(raw)
            if event.metadata.window.start >= event.metadata.window.end:
                raise ValueError(raw)
            logs[log_of(event.kind)].append(raw)
            counters[event.kind] += 1
        with client.pipeline(transaction=True) as pipe:
            for log, events in logs.items():
                pipe.rpush(log, *events[-CAP:])
                pipe.ltrim(log, -CAP, -1)
            for kind, number in counters.items():
                pipe.hincrby(job["prefix"] + "counters", kind, number)
            pipe.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])
            pipe.execute()
        left -= len(entries)


def naive() -> None:
    """One event, one command after the other."""
    left = COUNT
    while left > 0:
        [[_, [(entry_id, fields)]]] = client.xreadgroup(GROUP, "me", {STREAM: ">"}, count=1, block=500)
        raw = fields[b"event"]
        kind = orjson.loads(raw)["kind"]
        client.rpush(log_of(kind), raw)
        client.ltrim(log_of(kind), -CAP, -1)
        client.hincrby(job["prefix"] + "counters", kind, 1)
        client.xack(STREAM, GROUP, entry_id)
        left -= 1


def only_read() -> None:
    """What redis-py takes to get the entries at all."""
    left = COUNT
    while left > 0:
        [[_, entries]] = client.xreadgroup(GROUP, "me", {STREAM: ">"}, count=1000, noack=True)
        left -= len(entries)


turn.take({"careful": careful, "naive": naive, "only_read": only_read}[job["how"]])
