"""What commands share: `--json`, output, publishing one record, what the trail says, a read from the read models.

Data goes to standard output, words to standard error.
"""

from __future__ import annotations

import asyncio
import getpass
import json as jsonlib
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import typer

from engine.config import Settings, load_settings
from engine.contracts.audit import AuditModel
from engine.contracts.check import check_audit
from engine.domain.messages import ControlRecord, FollowerCommand
from engine.errors import DependencyUnreachable
from engine.log.publish import Published, Publisher, open_publisher

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
T = TypeVar("T")


def request_id() -> str:
    """A fresh id: a repeat of the same request would be a no-op."""
    return uuid.uuid4().hex


def asked(kind: type[AuditModel], **fields: Any) -> AuditModel:
    """What this login asks for, as the trail has it; it goes there before it is done. Errors: ContractViolation."""
    return check_audit({"t": kind.__name__, "request_id": request_id(), "actor": getpass.getuser()} | fields)


def emit(data: Mapping[str, Any], json: bool) -> None:
    """One JSON object, or a line for each field."""
    if json:
        print(jsonlib.dumps(data, default=str))
        return
    for name, value in data.items():
        print(f"{name:<24} {value}")


def emit_rows(rows: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Rows as JSON, or as a table."""
    if json:
        print(jsonlib.dumps(list(rows), default=str))
        return
    if not rows:
        print("nothing", file=sys.stderr)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0].keys())
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


def publish_control(record: ControlRecord) -> dict[str, Any]:
    """Append one control record; where it lies."""
    return _publish(lambda publisher: publisher.publish_control(record))


def publish_command(command: FollowerCommand) -> dict[str, Any]:
    """Append one follower command; where it lies."""
    return _publish(lambda publisher: publisher.publish_follower_command(command))


def _publish(send: Callable[[Publisher], Awaitable[Published]]) -> dict[str, Any]:
    async def once() -> Published:
        async with open_publisher(load_settings(), "remora-cli") as publisher:
            return await send(publisher)

    return asdict(asyncio.run(once()))


def query(settings: Settings, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of one statement over the read models. Errors: DependencyUnreachable."""
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(settings.database_url.get_secret_value(), row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(statement, parameters).fetchall()
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise DependencyUnreachable(f"Postgres did not answer: {reason}. `DATABASE_URL` says where it is.") from None
