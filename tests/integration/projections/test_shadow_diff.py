"""`remora shadow diff` on real tables: imported followers beside their older trades, in our database and in another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from engine.config import Settings
from ops.shadow import Options, shadow_diff
from projections.ids import user_id
from tests.tables import copy_of

OLDER = """
CREATE TABLE trades (id bigserial, user_id bigint, signal_id bigint, exchange text, symbol text, side text, quantity numeric, price numeric,
    status text DEFAULT 'executed', created_at timestamptz DEFAULT now())
"""
OLDER_TRADE = (
    "INSERT INTO trades (user_id, signal_id, exchange, symbol, side, quantity, price) VALUES (7, %s, 'binance', 'BTC/USDT', 'buy', %s, %s)"
)
SIGNAL = "INSERT INTO whale_signals (id, whale_id, symbol, side, signal_key, origin) VALUES (%s, 1, 'BTC/USDT', 'buy', %s, 'log')"
SHADOW = """
INSERT INTO trades (id, user_id, signal_id, exchange, symbol, side, quantity, reference_price, status, follower_key, cause, mode, origin,
    created_at, command_key)
VALUES (%(id)s, %(user)s, %(signal)s, 'binance', 'BTC/USDT', 'buy', %(quantity)s, 100, 'shadow', 'legacy-7', %(cause)s, 'shadow', 'log',
    %(at)s, %(id)s::text)
"""
SKIPPED = """
INSERT INTO copy_decisions (signal_id, user_id, decided_at, signal_key, follower_key, whale_key, symbol, outcome, reason, config_version,
    position)
VALUES (3, %s, %s, 'legacy-3', 'legacy-7', 'w', 'BTC/USDT', 'skipped', 'max_exposure', 1, 1)
"""


@pytest.fixture
def tables(postgres: str, empty_tables: str) -> object:
    """A migrated database with a shadow follower's orders of two signals, the second in two legs, and one that is old."""
    with copy_of(postgres, empty_tables) as url, psycopg.connect(url, autocommit=True) as connection:
        user = user_id("legacy-7")
        insert = "INSERT INTO users (id, follower_key, mode, origin) VALUES (%s, 'legacy-7', 'shadow', 'log')"
        connection.execute(insert, [user])
        now = datetime.now(UTC)
        for number, quantity, at in ((1, "1", now), (2, "1", now), (2, "1", now), (4, "9", now - timedelta(days=3))):
            connection.execute(SIGNAL + " ON CONFLICT DO NOTHING", [number, f"legacy-{number}"])
            found = connection.execute("SELECT count(*) + 100 FROM trades").fetchone()
            assert found is not None
            row = {"id": found[0], "user": user, "signal": number, "quantity": quantity, "cause": f"legacy-{number}", "at": at}
            connection.execute(SHADOW, row)
        connection.execute(SIGNAL, [3, "legacy-3"])
        connection.execute("SELECT remora_month_partition('public', 'copy_decisions', %s::date)", [now.date()])
        connection.execute(SKIPPED, [user, now])
        yield Settings(database_url=url)  # type: ignore[arg-type]


def test_beside_another_database(tables: Settings, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(OLDER)
        for signal, quantity, price in ((1, 1, 100), (2, 3, 100), (3, 1, 100)):
            connection.execute(OLDER_TRADE, [signal, quantity, price])
    found = shadow_diff(tables, Options(source=database))
    assert {name: found["summary"][name] for name in ("compared", "same", "size", "only_shadow", "only_reference")} == {
        "compared": 3,
        "same": 1,
        "size": 1,
        "only_shadow": 0,
        "only_reference": 1,
    }
    size, missing = found["differences"]
    assert (size["signal"], size["shadow_quantity"], size["size_percent"]) == ("legacy-2", 2, Decimal("50.00"))
    assert (missing["signal"], missing["reason"]) == ("legacy-3", "max_exposure")


def test_beside_older_rows_of_the_same_database(tables: Settings) -> None:
    with psycopg.connect(tables.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(OLDER_TRADE, [1, 1, 110])
    found = shadow_diff(tables, Options(follower="legacy-7"))["differences"]
    assert [(row["signal"], row["verdict"], row["price_bps"]) for row in found] == [
        ("legacy-1", "price", Decimal("1000.0")),
        ("legacy-2", "only_shadow", None),
    ]
