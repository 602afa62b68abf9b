"""What the validation of an event costs the consumer, by what the event tells; and beside another version of it.

    python -m benchmarks.validation [file of another version]

    git show HEAD~1:events/etlog_events/validation.py > /tmp/before.py && python -m benchmarks.validation /tmp/before.py

Microseconds of processor time an event, best and middle of rounds in which forms and versions take turns, in one
process. Exits with 1 when an event with the seconds that its stage took has left the fast path, or is judged otherwise.
"""

import gc
import importlib.util
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etlog_events import timestamps
from etlog_events import validation as ours
from etlog_events.kinds import KUBECOST_KINDS

EVENTS, ROUNDS = 2000, 60

#: An event with seconds may take so many times as long as one without: off the fast path it takes eight times as long.
MOST = 2.5

Times = dict[tuple[str, str], list[float]]


def main() -> int:
    """All forms, with each version."""
    chance = random.Random(7)
    forms = dict(_forms(chance))
    versions = {"this": ours.noter(KUBECOST_KINDS)}
    if len(sys.argv) > 1:
        versions["other"] = _loaded(Path(sys.argv[1])).noter(KUBECOST_KINDS)
    for form, texts in forms.items():
        for note in versions.values():
            if [repr(note(text)) for text in texts] != [repr(versions["this"](text)) for text in texts]:
                print(f"{form}: the versions make something else of the same events")
                return 1
    times = _times(forms, versions, chance)
    for form in forms:
        told = [f"{name} {_shown(times[form, name])}" for name in versions]
        if len(versions) > 1:
            told.append(f"this / other {_ratio(times[form, 'this'], times[form, 'other'])}")
        print(f"{form:<28} {'   '.join(told)}")
    ratio = statistics.median(times["saved, seconds", "this"]) / statistics.median(times["saved", "this"])
    print(f"with seconds {ratio:.2f} times as long as without, at most {MOST:g} {'ok' if ratio <= MOST else 'BROKEN'}")
    return int(ratio > MOST)


def _forms(chance: random.Random) -> Any:
    """What producers write, by name."""

    def seconds() -> str:
        return f',"seconds":{round(chance.lognormvariate(0, 2), 3)}'

    error = ',"error":"ValueError: no prices"'
    yield "saved", _texts("Saved")
    yield "saved, seconds", _texts("Saved", seconds)
    yield "totaled", _texts("Totaled")
    yield "totaled, seconds", _texts("Totaled", seconds)
    yield "saved, seconds and its own", _texts("Saved", lambda: seconds() + ',"path":"/tmp/set"')
    yield "error", _texts("ComputeError", lambda: error)
    yield "error, seconds and stage", _texts("ComputeError", lambda: error + seconds() + ',"stage":"Saved"')


def _texts(action: str, more: Callable[[], str] = str) -> list[bytes]:
    """Events of 20 hours, each with another time and size."""
    texts = []
    for number in range(EVENTS):
        hour = number % 20
        size = f'"size":{number},' if action == "Saved" else ""
        window = f'"window":{{"start":"2022-06-03T{hour:02}:00:00Z","end":"2022-06-03T{hour + 1:02}:00:00Z"}}'
        at = timestamps.from_nanoseconds(1_654_276_074_092_619_416 + number * 1_000_003)
        texts.append(f'{{"kind":"AssetSet{action}","metadata":{{{size}{window}{more()}}},"time":"{at}"}}'.encode())
    return texts


def _times(forms: dict[str, list[bytes]], versions: dict[str, Any], chance: random.Random) -> Times:
    turns = [(form, name) for form in forms for name in versions]
    times: Times = {turn: [] for turn in turns}
    gc.disable()
    for _ in range(ROUNDS):
        chance.shuffle(turns)
        for form, name in turns:
            note, texts = versions[name], forms[form]
            before = time.process_time_ns()
            for text in texts:
                note(text)
            times[form, name].append((time.process_time_ns() - before) / EVENTS / 1000)
    gc.enable()
    return times


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("other_validation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _shown(times: list[float]) -> str:
    return f"{min(times):5.2f} {statistics.median(times):5.2f} us"


def _ratio(these: list[float], others: list[float]) -> str:
    return f"{min(these) / min(others):.2f} {statistics.median(these) / statistics.median(others):.2f}"


if __name__ == "__main__":
    sys.exit(main())
