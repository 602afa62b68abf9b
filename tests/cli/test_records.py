"""Records of producers are summed up alike, whether they are recognized at a glance or read in detail."""

from etlog.records import SUMS, Records
from etlog_events.sequence import MAX_SEQ, Record
from hypothesis import given
from hypothesis import strategies as st

numbers = st.integers(0, 3) | st.integers(0, MAX_SEQ)
records = st.builds(Record, numbers, numbers, numbers, numbers, numbers, st.just(b"") | st.just(b"f0"), st.booleans())
#: As most are: all is applied.
quiet = records.map(lambda record: record._replace(applied=record.published, dead=0, lost=0))
hashes = st.dictionaries(st.binary(max_size=3), quiet | records | st.none(), max_size=8)


@given(hashes, st.integers(1, 4))
def test_all_records_are_in_the_sums_and_the_most_notable_are_kept(
    found: dict[bytes, Record | None], most: int
) -> None:
    """Whatever is kept of them."""
    kept = Records(most)
    for producer, record in found.items():
        kept.add({producer: record.encode() if record else b"published=1"})

    known = {producer: record for producer, record in found.items() if record}
    assert kept.total == len(found)
    assert kept.broken_total == len(found) - len(known)
    assert kept.sums == {name: sum(getattr(record, name) for record in known.values()) for name in SUMS}
    is_open = {producer: record for producer, record in known.items() if record.published != record.applied}
    assert kept.open == is_open
    assert kept.waiting == sum(max(0, record.published - record.applied) for record in is_open.values())

    def newest(rows: dict[bytes, Record]) -> dict[bytes, Record]:
        return dict(sorted(rows.items(), key=lambda row: (row[1].seen, *row), reverse=True)[:most])

    others = {producer: record for producer, record in known.items() if producer not in is_open}
    notable = {producer: record for producer, record in others.items() if record.dead or record.lost}
    told = list(kept.not_open().values())
    assert kept.notable_total == len(is_open) + len(notable)
    assert told[: len(newest(notable))] == list(newest(notable).values())
    silent = {producer: record for producer, record in others.items() if producer not in notable}
    assert sorted(told[len(newest(notable)) :]) == sorted(newest(silent).values())
