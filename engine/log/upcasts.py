"""Old versions of events, brought up to date while they are read. Nothing on the log is ever rewritten.

Enters: the JSON object of an event with an old tag. Leaves: the object with the newest tag. A changed event gets a new tag
(`CopyDecided.v2`), an entry here from the old tag, and a golden file of the old bytes stays in `tests/golden/events`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
Upcasts = Mapping[str, Upcast]
"""Old tag to the function that gives the next version, with its new tag in `t`."""

UPCASTS: Final[Upcasts] = {}


def upcast(raw: dict[str, Any], upcasts: Upcasts = UPCASTS) -> dict[str, Any]:
    """Apply the steps from the event's version to the newest."""
    while step := upcasts.get(raw["t"]):
        newer = step(raw)
        assert newer["t"] != raw["t"], "an upcast changes the tag"
        raw = newer
    return raw
