"""The page about the tables is what the metadata says, and the map names every table."""

from __future__ import annotations

from engine.topology import TABLES
from projections.columns import METADATA
from projections.tables_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python -m projections.tables_page"


def test_the_map_names_every_table() -> None:
    assert TABLES.keys() == METADATA.tables.keys()
