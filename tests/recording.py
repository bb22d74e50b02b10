"""Excerpts of a recording of fills, for tests: fewer whales under other names, fewer fills, fills repeated or left out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FILE = "hl_leaders_x8_fills.json.gz"


def excerpt(
    data: Path, target: Path, names: Mapping[str, str], most: int, *, repeat: int = 1, keep: Callable[[Json], bool] = lambda _: True
) -> Path:
    """Write the first `most` fills (whole milliseconds) of the whales in `names`, each under its new name."""
    recording = json.loads(gzip.decompress((data / FILE).read_bytes()))
    queries = [query for query in recording["queries"] if query["slot"] in names]
    times = sorted(fill["time"] for query in queries for fill in query["fills"])
    last = times[min(most, len(times)) - 1]
    for query in queries:
        query["slot"] = names[query["slot"]]
        query["fills"] = [fill for fill in query["fills"] if fill["time"] <= last and keep(fill) for _ in range(repeat)]
    target.write_bytes(gzip.compress(json.dumps({"queries": queries}).encode()))
    return target
