"""`remora bench replay`: events folded a second on one core, against a raw read and decode; and loading a shard from its snapshot.

Enters: events a shard, shards. Leaves: one JSON object. Both sides are processes of their own, pinned to one core, on the same log.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from engine.config import Settings
from engine.topology import EVENTS
from ops.bench.decisions import child
from ops.embedded.kafka import EmbeddedKafka

PREFIX: Final = "history."
FOLLOWERS: Final = 5_000


def bench_replay(events: int = 1_000_000, shards: int = 2) -> dict[str, Any]:
    """Run it on a broker of its own: `events` in each shard, the snapshot as far back as the engine would leave it at most."""
    with EmbeddedKafka() as broker:
        settings = Settings(kafka=broker.bootstrap, topic_prefix=PREFIX, partitions=shards)
        task = {"kafka": broker.bootstrap, "prefix": PREFIX, "partitions": shards}
        wanted = {"followers": FOLLOWERS, "events": events, "snapshot_at": max(1, events - settings.snapshot_events)}
        written = json.loads(child("-m", "ops.bench.history", json.dumps(task | wanted)))
        raw_script = str(Path(__file__).with_name("raw_read.py"))
        records, raw_s = child(raw_script, broker.bootstrap, settings.topic(EVENTS), str(shards)).split()
        ours = json.loads(child("-m", "ops.bench.fold_run", json.dumps(task)))
    value, raw = ours["events"] / ours["seconds"], int(records) / float(raw_s)
    return {
        "name": "replay",
        "value": round(value),
        "unit": "events/s",
        "raw": round(raw),
        "ratio": round(value / raw, 3),
        "events": ours["events"],
        "kinds": written["kinds"],
        "shards": shards,
        "followers": FOLLOWERS * shards,
        "cpu_s": round(ours["cpu_s"], 3),
        "snapshot_s": round(ours["snapshot_s"], 3),
        "snapshot_tail_events": ours["snapshot_tail_events"],
    }
