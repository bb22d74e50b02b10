"""What a process tells its supervisor: one line of JSON in the file named by REMORA_READY_FILE, once it serves."""

from __future__ import annotations

import json
import os

from engine.config import Settings


def announce_ready(settings: Settings, role: str, **facts: str | int) -> None:
    """Say that `role` serves now, with facts such as `port`. Call it once; without a supervisor it does nothing."""
    if settings.ready_file is None:
        return
    line = json.dumps({"ready": role, "pid": os.getpid()} | facts) + "\n"
    partial = settings.ready_file.with_suffix(".partial")
    partial.write_text(line)
    # The supervisor never sees half a line.
    partial.replace(settings.ready_file)
