"""The trail before the write: an audit record enters, its acked position leaves; only then may its writer go on.

For the CLI and whoever else writes to Postgres or another topic now and then. The API has a producer of its own (`api.writing`).
"""

from __future__ import annotations

from engine.config import Settings
from engine.contracts.audit import AuditModel
from engine.errors import DependencyUnreachable
from engine.log.publish import open_publisher


async def note(settings: Settings, *records: AuditModel) -> None:
    """Put them on the control topic. Errors: DependencyUnreachable, ContractViolation; whoever gets one of them does nothing."""
    try:
        async with open_publisher(settings, "remora-audit") as publisher:
            for record in records:
                await publisher.publish_audit(record)
    except DependencyUnreachable as error:
        raise DependencyUnreachable(f"{error} Nothing was done: the audit trail comes first.") from error
