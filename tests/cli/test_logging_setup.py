"""The shape of log lines."""

import json
import logging
import threading
from datetime import UTC, datetime

import pytest
from etlog.logging_setup import JsonFormatter, about, configure


def test_a_json_line_has_the_sentence_and_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, logger, message, and what came as `extra`."""
    configure("INFO", "json")

    logging.getLogger("etlog.test").info("Lost %d events", 3, extra={"action": "events_lost", "first": 7})

    line = json.loads(capsys.readouterr().err)
    moment = datetime.fromisoformat(line.pop("time"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert line == {
        "level": "INFO",
        "logger": "etlog.test",
        "message": "Lost 3 events",
        "action": "events_lost",
        "first": 7,
    }


def test_an_exception_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is one JSON object, whatever happened."""
    configure("INFO", "json")

    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("etlog.test").exception("Failed\nbadly", extra={"what": object()})

    [text] = capsys.readouterr().err.splitlines()
    line = json.loads(text)
    assert line["message"] == "Failed\nbadly"
    assert "ValueError: a\nb" in line["exception"]


def test_a_text_that_is_no_unicode_is_written_all_the_same() -> None:
    """A file name may be such a text."""
    record = logging.makeLogRecord({"name": "etlog.test", "msg": "cannot read %s", "args": ("\udcff",), "set": {1}})

    line = json.loads(JsonFormatter().format(record))

    assert line["message"] == "cannot read \udcff"


def test_a_text_line_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """With its time, level and logger before it."""
    configure("WARNING", "text")

    logging.getLogger("etlog.test").info("not seen")
    logging.getLogger("etlog.test").warning("The store answers again", extra={"action": "store_back"})

    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(" WARNING etlog.test: The store answers again")


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_line_names_its_log_where_there_are_several(capsys: pytest.CaptureFixture[str], shape: str) -> None:
    """In the thread that works on it, and only while it does."""
    configure("INFO", shape)
    logger = logging.getLogger("etlog.test")

    def work(log: str) -> None:
        with about(log):
            logger.info("Active")

    threads = [threading.Thread(target=work, args=(log,)) for log in ("nightly", "hourly")]
    for thread in threads:
        thread.start()
        thread.join()
    logger.info("Share")

    lines = capsys.readouterr().err.splitlines()
    if shape == "json":
        assert [json.loads(line).get("log") for line in lines] == ["nightly", "hourly", None]
    else:
        assert [line.partition("etlog.test: ")[2] for line in lines] == ["nightly: Active", "hourly: Active", "Share"]
