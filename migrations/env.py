"""Alembic's entry: runs on the connection that the caller hands over, against the metadata that the caller hands over."""

from __future__ import annotations

from typing import Any

from alembic import context


def _ours(_: Any, name: str | None, kind: str, reflected: bool, counterpart: Any) -> bool:
    """Leave out what the metadata does not know (older tables beside ours, monthly partitions); ours must all be there."""
    return not (kind == "table" and reflected and counterpart is None)


def run() -> None:
    """One transaction for all revisions: a migration that fails leaves nothing behind."""
    options = context.config.attributes
    context.configure(
        connection=options["connection"],
        target_metadata=options.get("target_metadata"),
        include_object=_ours,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
