"""The cache of answers to queries, for one version of the log at a time."""

from collections import OrderedDict

from etlog_events.kinds import Kinds
from etlog_events.positions import end_of, id_of

from etlog_api.envelope import JSON
from etlog_api.log.answer import answer
from etlog_api.log.reader import View
from etlog_api.log.snapshot import Snapshot
from etlog_api.negotiation import Body
from etlog_api.query import Query

#: Answers that are kept per log, and the bytes of all logs together, without codings. The newest of each log is always
#: kept. Dashboards ask for the same few, and a full log of a thousand events is about 200 KiB; but events may be long,
#: and a window that ends now is another one each time.
MAX_ANSWERS, MAX_BYTES = 64, 64 * 1024 * 1024


class AnswerCache:
    """Bodies by query, each made once per snapshot. The least recently used ones go first.

    `logs` is how many logs share the bytes.
    """

    def __init__(self, kinds: Kinds, logs: int = 1) -> None:
        self._kinds = kinds
        self._logs = logs
        self._snapshot: Snapshot | None = None
        self._bodies: OrderedDict[tuple[Query, float | None, float | None, tuple[str, ...]], Body] = OrderedDict()
        self._bytes = 0

    def body(self, view: View, query: Query, warnings: tuple[str, ...] = ()) -> Body:
        """The answer to `query` on what `view` shows, with these `warnings` beside those that it tells by itself."""
        if view.snapshot is not self._snapshot:
            self._bodies.clear()
            self._bytes = 0
            self._snapshot = view.snapshot
        key = (query, view.away_since, view.behind_since, warnings)
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = self._made(view, query, warnings)
            self._bytes += len(body.text)
            while len(self._bodies) > 1 and (len(self._bodies) > MAX_ANSWERS or self._bytes > MAX_BYTES // self._logs):
                self._bytes -= len(self._bodies.popitem(last=False)[1].text)
        else:
            self._bodies.move_to_end(key)
        return body

    def _made(self, view: View, query: Query, warnings: tuple[str, ...]) -> Body:
        cursor = view.snapshot.cursor
        more = {"Etlog-Cursor": id_of(end_of(cursor)).decode()} if cursor is not None else {}
        return Body(answer(view, query, self._kinds, warnings), JSON, more)
