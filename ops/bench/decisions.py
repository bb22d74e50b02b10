"""`remora bench decisions`: decisions written and acked a second on one core, against the raw `send_batch` of the same bytes.

Enters: followers a signal, signals. Leaves: one JSON object. The engine's side and the raw side are processes of their own, pinned to one
core, on the same broker in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from engine.config import Settings
from engine.log.topics import ensure_topics
from engine.topology import EVENTS
from ops.children import LAUNCHER
from ops.embedded.kafka import EmbeddedKafka

WARM: Final = 2
RAW_PREFIX: Final = "raw."


def child(*arguments: str) -> str:
    """Run one of the bench's programs to its end, or to ours; its words go to stderr."""
    tied = [sys.executable, "-IS", LAUNCHER, str(os.getpid()), str(int(signal.SIGKILL)), "-"]
    done = subprocess.run([*tied, sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def _engine(kafka: str, prefix: str, followers: int, signals: int, file: Path | None = None) -> dict[str, Any]:
    task = {"kafka": kafka, "prefix": prefix, "followers": followers, "signals": signals, "warm": WARM, "file": file and str(file)}
    found: dict[str, Any] = json.loads(child("-m", "ops.bench.shards_run", json.dumps(task)))
    return found


def bench_decisions(followers: int = 10_000, signals: int = 24, crowd: int = 100_000) -> dict[str, Any]:
    """Run it on a broker of its own. `crowd`: followers of the memory measurement; 0 leaves it out."""
    with EmbeddedKafka() as broker, tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:
        file = Path(folder) / "written"
        ours = _engine(broker.bootstrap, "decisions.", followers, signals, file)
        raw_settings = Settings(kafka=broker.bootstrap, topic_prefix=RAW_PREFIX)
        asyncio.run(ensure_topics(raw_settings, [EVENTS]))
        raw_s = float(child(str(Path(__file__).with_name("raw_send.py")), broker.bootstrap, raw_settings.topic(EVENTS), str(file)))
        memory = _engine(broker.bootstrap, "memory.", crowd, 1) if crowd else {}
    decisions = followers * signals
    value, raw = decisions / ours["seconds"], decisions / raw_s
    return {
        "name": "decisions",
        "value": round(value),
        "unit": "decisions/s",
        "raw": round(raw),
        "ratio": round(value / raw, 3),
        "followers": followers,
        "signals": signals,
        "records": ours["records"],
        "bytes_per_decision": round(ours["bytes"] / decisions, 1),
        "cpu_s": round(ours["cpu_s"], 3),
        "setup_s": round(ours["setup_s"], 2),
        "rss_followers": crowd,
        "rss_mb": round(memory.get("rss_mb", 0.0), 1),
        "rss_loaded_mb": round(memory.get("rss_loaded_mb", 0.0), 1),
        "bytes_per_follower": round((memory["rss_loaded_mb"] - memory["rss_before_mb"]) * 1e6 / crowd) if crowd else 0,
    }
