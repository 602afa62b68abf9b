"""The header of a spool file: where its events belong, and whose they are."""

from dataclasses import asdict, dataclass
from zlib import crc32

import orjson

#: Bytes of a header that are kept free for the id of the log. Those that etlog makes take forty.
LOG_ID_BYTES = 64

#: Bytes at the start of a file in which its header is looked for.
HEAD_BYTES = 64 * 1024

_BEGIN, _SUM = b'{"log":', b',"sum":"'


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Where the events of a file belong, and whose they are; `store` is an address without secrets.

    `log_id` is the id of the log, "" as long as the owner has not reached the store. `resumable` says that the id of
    the producer is noted elsewhere, for another run to go on under it. `complete` says that the file is not of the
    first release, whose headers have none of these but `log`, `producer` and `store`; `checked`, that its lines have
    checksums.
    """

    log: str
    producer: str
    store: str
    log_id: str = ""
    token: str = ""
    resumable: bool = False
    complete: bool = True
    checked: bool = True

    def encode(self) -> bytes:
        """The first two lines of a file. They are equally long for each `log_id`, so that one can be written over
        another."""
        fields = asdict(self)
        del fields["complete"], fields["checked"]
        longest = len(orjson.dumps(fields | {"log_id": ""})) - 1 + LOG_ID_BYTES
        text = orjson.dumps(fields)[:-1].ljust(longest)
        return b'%b%b%08x"}\n' % (text, _SUM, crc32(text)) * 2

    @classmethod
    def find(cls, head: bytes) -> "SegmentHeader | None":
        """The header in the first `HEAD_BYTES` of a file: the first one that is whole. None if there is none."""
        begin = head.find(_BEGIN)
        while begin >= 0 and (end := head.find(_SUM, begin)) >= 0:
            if header := cls.whole(head[begin : end + len(_SUM) + 10]):
                return header
            begin = head.find(_BEGIN, begin + 1)
        return _of_earlier_release(head)

    @classmethod
    def whole(cls, line: bytes) -> "SegmentHeader | None":
        """The header that a line is, None if it is damaged."""
        text, found, checksum = line.rpartition(_SUM)
        if not found or checksum != b'%08x"}' % crc32(text):
            return None
        return _decoded(text + b"}", checked=True)


def _of_earlier_release(head: bytes) -> SegmentHeader | None:
    """One without a checksum. It stands there once."""
    line, _, rest = head.partition(b"\n")
    return None if rest.startswith(b"{") else _decoded(line, checked=False)


def _decoded(text: bytes, *, checked: bool) -> SegmentHeader | None:
    try:
        fields = orjson.loads(text)
        found = SegmentHeader(
            str(fields.pop("log")),
            str(fields.pop("producer")),
            str(fields.pop("store")),
            complete="token" in fields,
            checked=checked,
            log_id=str(fields.pop("log_id", "")),
            token=str(fields.pop("token", "")),
            resumable=bool(fields.pop("resumable", True)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if fields else found
