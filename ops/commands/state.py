"""`remora status`: how far the read models are, partition by partition, and what runs."""

from __future__ import annotations

from engine.config import load_settings
from ops.commands.common import Json, emit_rows, query

LAG = """
SELECT application_name AS partition, notification_id AS position, end_offset, lag_seconds, event_at, checked_at
FROM projection_positions ORDER BY topic, partition
"""


def status(json: Json = False) -> None:
    """Lag of every projected partition, in records and in seconds."""
    emit_rows(query(load_settings(), LAG), json)
