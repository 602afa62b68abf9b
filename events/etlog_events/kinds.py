"""Kinds of events: a category's prefix and an action, `AllocationSet` + `Saved`.

The two categories and the seven actions are those of Kubecost's Events API.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: The categories that every log has: name in the answer -> prefix of its kinds.
CATEGORIES: Mapping[str, str] = MappingProxyType({"allocation": "AllocationSet", "asset": "AssetSet"})


@dataclass(frozen=True, slots=True)
class Action:
    """What happened to a set, and which metadata an event of it must carry."""

    name: str
    needs: tuple[str, ...]
    is_error: bool = False


#: In the order in which a set lives through them.
ACTIONS: tuple[Action, ...] = (
    Action("Loaded", needs=("size", "window")),
    Action("Saved", needs=("size", "window")),
    Action("Aggregated", needs=("size", "window")),
    Action("Totaled", needs=("window",)),
    Action("Reconciled", needs=("window",)),
    Action("ComputeError", needs=("error",), is_error=True),
    Action("ReconcileError", needs=("error",), is_error=True),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: `name` is its full text, as in `{"kind": ...}`."""

    name: str
    category: str
    action: Action


@dataclass(frozen=True, slots=True)
class Kinds:
    """All kinds of one log.

    `categories` maps the name of a category to the prefix of its kinds. `by_name` is made from it.
    """

    categories: Mapping[str, str] = field(default_factory=lambda: CATEGORIES)
    by_name: Mapping[str, Kind] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        by_name = {
            prefix + action.name: Kind(prefix + action.name, category, action)
            for category, prefix in self.categories.items()
            for action in ACTIONS
        }
        object.__setattr__(self, "by_name", MappingProxyType(by_name))

    def containing(self, text: str) -> frozenset[str]:
        """The names of all kinds that contain `text`: `AssetSet` gives seven, `Saved` one per category."""
        return frozenset(name for name in self.by_name if text in name)

    def unknown(self, name: object) -> str:
        """The sentence that refuses `name`, and lists what is known."""
        shown = repr(name)
        return (
            f"unknown kind {shown if len(shown) <= 80 else shown[:80] + '…'}; "
            f"a kind is one of {', '.join(self.categories.values())} "
            f"followed by one of {', '.join(action.name for action in ACTIONS)}"
        )

    def __hash__(self) -> int:
        return hash(tuple(self.categories.items()))


#: The kinds of a log without further categories.
KUBECOST_KINDS = Kinds()
