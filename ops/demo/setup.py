"""Brings the demo's followers into being: accounts at the simulator, keys in the vault, commands on the log.

Leaves only when the read models know every follower and the engine has a fresh equity for each, and every venue's market rules.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import aiohttp
import psycopg
from pydantic import SecretStr

from engine.config import Settings
from engine.contracts.audit import StoreCredential
from engine.domain.messages import ConfigureFollower, FollowWhale
from engine.domain.values import VENUES
from engine.errors import DependencyUnreachable
from engine.executor.accounts import add_credential, load_master_key
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.note import note
from engine.log.publish import open_publisher
from engine.topology import EVENTS, MARKET_REPORTS
from ops.commands.common import query
from ops.demo.plan import FollowerPlan
from ops.stack import Stack

ACCOUNTS_AT_ONCE: Final = 500
KNOWN: Final = "SELECT count(*) AS known FROM account_equity"
WORKED_IN: Final = "SELECT (sources ->> 'm/0')::bigint AS next FROM projection_positions WHERE topic = %(topic)s"
"""By shard, the next market report that it has not seen."""
MARKED: Final = "SELECT count(DISTINCT venue) AS venues, max(position) AS position FROM market_marks WHERE marked_at > %(since)s"


async def create_followers(stack: Stack, plans: Sequence[FollowerPlan]) -> None:
    """Accounts, settings, follows and keys of every plan; followers who are there already stay as they are.

    Keys come last: the executor reports an account as soon as it has its keys, and the engine has no use for reports of strangers.
    """
    await _register(stack.simulator_url, plans)
    known = await _known(stack.settings)
    async with open_publisher(stack.settings, "remora-demo") as publisher:
        for plan in plans:
            follower = plan.follower_id
            await publisher.publish_follower_command(
                ConfigureFollower(request_id=f"demo-{follower}", follower_id=follower, settings=plan.settings, actor="demo")
            )
            await publisher.publish_follower_command(
                FollowWhale(
                    request_id=f"demo-{follower}-{plan.whale_id}",
                    follower_id=follower,
                    whale_id=plan.whale_id,
                    terms=plan.terms,
                    actor="demo",
                )
            )
    await _store_keys(stack.settings, plans)
    await _wait_known(stack.settings, known + len(plans))
    await wait_for_markets(stack.settings)


async def open_accounts(stack: Stack, plans: Sequence[FollowerPlan]) -> None:
    """Accounts at the simulator with their keys in the vault."""
    await _register(stack.simulator_url, plans)
    await _store_keys(stack.settings, plans)


async def _register(url: str, plans: Sequence[FollowerPlan]) -> None:
    async with aiohttp.ClientSession() as session:
        for start in range(0, len(plans), ACCOUNTS_AT_ONCE):
            some = plans[start : start + ACCOUNTS_AT_ONCE]
            accounts = [
                {"api_key": p.api_key, "secret": p.api_secret, "venue": p.venue, "usdt": str(p.balance), "label": p.follower_id}
                for p in some
            ]
            async with session.post(f"{url}/_accounts", json={"accounts": accounts}) as answer:
                answer.raise_for_status()


async def _store_keys(settings: Settings, plans: Sequence[FollowerPlan]) -> None:
    """Keys of the accounts into the vault, each on the trail first."""
    await note(settings, *map(_told, plans))

    def seal() -> None:
        master = load_master_key(settings)
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            for plan in plans:
                add_credential(connection, master, plan.follower_id, plan.venue, SecretStr(plan.api_key), SecretStr(plan.api_secret))

    await asyncio.to_thread(seal)


def _told(plan: FollowerPlan) -> StoreCredential:
    follower = plan.follower_id
    return StoreCredential(t="StoreCredential", request_id=f"demo-{follower}", actor="demo", follower_id=follower, venue=plan.venue)


async def wait_for_markets(settings: Settings, deadline_s: float = 60.0) -> None:
    """Until every shard has the rules of every venue: without them an open is refused. Errors: DependencyUnreachable."""
    end = time.monotonic() + deadline_s
    while not await _markets_known(settings):
        if time.monotonic() > end:
            raise DependencyUnreachable(f"The venues' market rules have not reached the engine after {deadline_s:.0f} s.")
        await asyncio.sleep(0.1)


async def wait_for_marks(settings: Settings, deadline_s: float = 60.0) -> None:
    """Until every shard has a price of every venue from after this call: prices were just driven. Errors: DependencyUnreachable."""
    since, end = datetime.now(UTC), time.monotonic() + deadline_s
    while True:
        [marked] = await asyncio.to_thread(query, settings, MARKED, since=since)
        rows = await asyncio.to_thread(query, settings, WORKED_IN, topic=settings.topic(EVENTS))
        if marked["venues"] == len(VENUES) and min(row["next"] or 0 for row in rows) > marked["position"]:
            return
        if time.monotonic() > end:
            raise DependencyUnreachable(f"The venues' prices have not reached the engine after {deadline_s:.0f} s.")
        await asyncio.sleep(0.1)


async def _markets_known(settings: Settings) -> bool:
    reported: dict[str, int] = {}
    topic = settings.topic(MARKET_REPORTS)
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, topic, 0)
        async for records in read_range(consumer, topic, 0, first, end):
            for record in records:
                report = json.loads(record.value or b"{}")
                if report.get("t") == "RulesReported":
                    reported.setdefault(report["venue"], record.offset)
    rows = await asyncio.to_thread(query, settings, WORKED_IN, topic=settings.topic(EVENTS))
    worked_in = [row["next"] or 0 for row in rows]
    return reported.keys() >= set(VENUES) and len(worked_in) == settings.partitions and min(worked_in) > max(reported.values())


async def _known(settings: Settings) -> int:
    return int((await asyncio.to_thread(query, settings, KNOWN))[0]["known"])


async def _wait_known(settings: Settings, followers: int, deadline_s: float = 90.0) -> None:
    end, known = time.monotonic() + deadline_s, 0
    while time.monotonic() < end:
        known = await _known(settings)
        if known >= followers:
            return
        await asyncio.sleep(0.1)
    raise DependencyUnreachable(f"Only {known} of {followers} followers were known after {deadline_s:.0f} s.")
