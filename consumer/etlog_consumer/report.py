"""The log lines about what should not have happened."""

import logging
from collections.abc import Sequence

from etlog_consumer.batch import DeadLetter, Gap

logger = logging.getLogger("etlog.consumer")

#: Losses and dead letters of one batch that get a log line each.
REPORTED = 10

_MENDED = {
    "cursor-gone": "The cursor was gone; it is taken from the group that mirrors it, %s",
    "cursor-ahead": "The cursor was ahead of the stream, as after a restored backup; going on from %s, by numbers",
    "stream-gone": "The stream was deleted; a new one goes on from %s",
    "group-gone": "The group that mirrors the cursor was destroyed; it is made again at %s",
    "log-gone": "The log was emptied, as by FLUSHALL; starting again from what is there, at %s",
}


def losses(gaps: Sequence[Gap]) -> None:
    """Report events that never arrived."""
    for gap in gaps[:REPORTED]:
        logger.error(
            "Lost: events %d to %d of producer %s never arrived",
            gap.first,
            gap.last,
            gap.producer,
            extra={"action": "events_lost", "producer": gap.producer, "first": gap.first, "last": gap.last},
        )
    _more(gaps[REPORTED:], "losses")


def dead_letters(letters: Sequence[DeadLetter]) -> None:
    """Report entries that were refused."""
    for letter in letters[:REPORTED]:
        logger.warning("Dead letter: entry %s: %s", letter.id.decode(), letter.reason, extra={"action": "dead_letter"})
    _more(letters[REPORTED:], "dead letters")


def mended(findings: Sequence[str], cursor: bytes) -> None:
    """Report what somebody has done to the keys of the log, and how the work goes on."""
    for finding in findings:
        logger.warning(_MENDED[finding], cursor.decode(), extra={"action": finding.replace("-", "_")})


def _more(rest: Sequence[object], what: str) -> None:
    if rest:
        logger.warning("%d more %s in this batch", len(rest), what, extra={"action": "more"})
