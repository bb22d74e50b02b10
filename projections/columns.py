"""How columns of the read models are written down: each with its meaning, which ends up in `docs/tables.md`."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, DateTime, Integer, MetaData, Numeric, Text, text

METADATA: Final = MetaData()


def older_column(name: str, kind: Any, *rest: Any, **options: Any) -> Column[Any]:
    """A column of the older system: kept exactly as it is."""
    return Column(name, kind, *rest, **options)


def text_column(name: str, doc: str, **options: Any) -> Column[Any]:
    return Column(name, Text(), doc=doc, **options)


def amount_column(name: str, doc: str, **options: Any) -> Column[Any]:
    return Column(name, Numeric(), doc=doc, **options)


def time_column(name: str, doc: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), doc=doc, **options)


def count_column(name: str, doc: str, **options: Any) -> Column[Any]:
    return Column(name, Integer(), doc=doc, nullable=False, server_default="0", **options)


def origin_column() -> Column[Any]:
    return text_column("origin", "`log`: written by the projector; `legacy`: by older code", nullable=False, server_default="legacy")


def version_column() -> Column[Any]:
    return Column("version", Integer(), doc="grows by one with every event that touches the row", nullable=False, server_default="1")


def zero_column(name: str, doc: str) -> Column[Any]:
    return amount_column(name, doc, nullable=False, server_default="0")


def now_column(name: str, doc: str) -> Column[Any]:
    return older_column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"), doc=doc)
