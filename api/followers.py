"""`/v1/followers`: who copies whom, how much and on which account. Reads from the tables, writes as commands on the log."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from api.errors import READS, WRITES, Conflict, Forbidden, Unknown, answers
from api.inputs import FollowerBody, FollowerPatch, TermsBody, patched, settings_of, terms_of
from api.pages import read_number
from api.reading import Freshness, MinPosition, Paging, Reading, Reads, rows_of
from api.security import Follower as Follow
from api.security import Principal, Reader, Trader
from api.writing import Accepted, Writing
from engine.contracts.types import Id, Symbol
from engine.domain.messages import ClosePosition, ConfigureFollower, FollowWhale, UnfollowWhale
from engine.domain.values import Mode
from projections.ids import user_id, whale_number

router = APIRouter(prefix="/v1/followers", tags=["followers"], responses=answers(*READS))
Text = Annotated[str | None, Query(max_length=128)]
FollowerPath = Annotated[Id, Path(alias="follower_id")]
WhalePath = Annotated[Id, Path(alias="whale_id")]


class Follower(BaseModel):
    """Settings of a follower. `config_version` counts its changes, those of its follows included; decisions cite it."""

    follower_id: str
    copy_trading_enabled: bool
    paused: bool
    mode: str | None
    preferred_exchange: str
    max_leverage: Decimal | None
    limits: dict[str, Any]
    follows: int
    config_version: int | None
    created_at: datetime
    updated_at: datetime | None


class Followed(BaseModel):
    """One follow with its terms; `unfollowed_at` is set while the whale is not followed any more."""

    whale_id: str
    auto_copy_enabled: bool
    sizing: str | None
    terms: dict[str, Any]
    config_version: int | None
    created_at: datetime
    updated_at: datetime | None
    unfollowed_at: datetime | None


class Followers(BaseModel):
    """A page of followers, in an order of their own that does not change."""

    items: list[Follower]
    next: str | None
    freshness: Freshness


class OneFollower(BaseModel):
    """A follower and whom it follows."""

    item: Follower
    follows: list[Followed]
    freshness: Freshness


def to_follower(row: dict[str, Any]) -> Follower:
    """A row as the API shows it."""
    renamed = {"follower_id": row["follower_key"], "paused": bool(row["paused"]), "max_leverage": row["leverage_limit"]}
    return Follower.model_validate(row | renamed | {"limits": row["limits"] or {}})


def to_followed(row: dict[str, Any]) -> Followed:
    """A row as the API shows it."""
    return Followed.model_validate(row | {"whale_id": row["whale_key"], "terms": row["terms"] or {}})


async def find_follower(reads: Reads, caller: Principal, follower_id: str) -> dict[str, Any]:
    """The row of a follower that the caller may see. Errors: Unknown."""
    rows = await reads.page("list_followers", {"user_id": user_id(follower_id)}, ("id",), (read_number,), None, 1)
    if not rows[0] or not caller.sees(follower_id) or rows[0][0]["follower_key"] != follower_id:
        raise Unknown(f"There is no follower {follower_id!r}.")
    return rows[0][0]


def own(caller: Principal, follower_id: str) -> None:
    """Errors: Unknown, as if the follower were not there."""
    if not caller.sees(follower_id):
        raise Unknown(f"There is no follower {follower_id!r}.")


@router.get("")
async def list_followers(
    paging: Paging,
    caller: Reader,
    whale: Text = None,
    mode: Mode | None = None,
) -> Followers:
    """Followers, or those of one whale."""
    fresh = await paging.ready()
    filters = {"user_id": rows_of(caller, None), "mode": mode, "whale_id": whale_number(whale) if whale else None}
    rows, following = await paging.rows("list_followers", filters, ("id",), (read_number,))
    return Followers(items=[to_follower(row) for row in rows], next=following, freshness=fresh)


@router.get("/{follower_id}", responses=answers(404))
async def get_follower(reads: Reading, caller: Reader, follower_id: FollowerPath, min_position: MinPosition = None) -> OneFollower:
    """A follower with its follows."""
    own(caller, follower_id)
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    row = await find_follower(reads, caller, follower_id)
    follows = await reads.rows("follows_of", user_id=row["id"])
    return OneFollower(item=to_follower(row), follows=[to_followed(found) for found in follows], freshness=fresh)


@router.post("", status_code=202, responses=answers(*WRITES))
async def create_follower(reads: Reading, caller: Follow, write: Writing, body: FollowerBody) -> Accepted:
    """Create a follower. A key of one follower can create that one."""
    if not caller.sees(body.follower_id):
        raise Forbidden(f"This key is for the follower {caller.follower_id!r}.")
    asked = write(caller)

    async def build() -> ConfigureFollower:
        rows, _ = await reads.page("list_followers", {"user_id": user_id(body.follower_id)}, ("id",), (read_number,), None, 1)
        if rows:
            raise Conflict(f"The follower {body.follower_id!r} is there already: PATCH changes it.")
        return ConfigureFollower(request_id=asked.id, follower_id=body.follower_id, settings=settings_of(body), actor=caller.actor)

    return await asked.command(body.follower_id, build)


@router.patch("/{follower_id}", status_code=202, responses=answers(*WRITES))
async def change_follower(
    reads: Reading, caller: Follow, write: Writing, follower_id: FollowerPath, body: FollowerPatch, min_position: MinPosition = None
) -> Accepted:
    """Change settings and limits. Built on the tables as they are: give `min_position` of your last write to build on that."""
    own(caller, follower_id)
    asked = write(caller)

    async def build() -> ConfigureFollower:
        await reads.wait_for(min_position)
        settings = patched(await find_follower(reads, caller, follower_id), body)
        return ConfigureFollower(request_id=asked.id, follower_id=follower_id, settings=settings, actor=caller.actor)

    return await asked.command(follower_id, build)


@router.put("/{follower_id}/follows/{whale_id}", status_code=202, responses=answers(*WRITES))
async def follow_whale(
    reads: Reading,
    caller: Follow,
    write: Writing,
    follower_id: FollowerPath,
    whale_id: WhalePath,
    body: TermsBody,
    min_position: MinPosition = None,
) -> Accepted:
    """Follow a whale, or replace the terms."""
    own(caller, follower_id)
    asked = write(caller)

    async def build() -> FollowWhale:
        await reads.wait_for(min_position)
        await find_follower(reads, caller, follower_id)
        terms = terms_of(body)
        return FollowWhale(request_id=asked.id, follower_id=follower_id, whale_id=whale_id, terms=terms, actor=caller.actor)

    return await asked.command(follower_id, build)


@router.delete("/{follower_id}/follows/{whale_id}", status_code=202, responses=answers(*WRITES))
async def unfollow_whale(caller: Follow, write: Writing, follower_id: FollowerPath, whale_id: WhalePath) -> Accepted:
    """Open no more copies of the whale; its exits go on. Of a whale that is not followed: nothing happens."""
    own(caller, follower_id)
    asked = write(caller)

    async def build() -> UnfollowWhale:
        return UnfollowWhale(request_id=asked.id, follower_id=follower_id, whale_id=whale_id, actor=caller.actor)

    return await asked.command(follower_id, build)


@router.post("/{follower_id}/close", status_code=202, responses=answers(*WRITES))
async def close_all(
    caller: Trader,
    write: Writing,
    follower_id: FollowerPath,
    symbol: Annotated[Symbol | None, Query(description="only this market of the venue")] = None,
    whale: Annotated[Id | None, Query(description="only this whale's share")] = None,
) -> Accepted:
    """Close a follower's positions: all of them, or those of a market or a whale."""
    own(caller, follower_id)
    asked = write(caller)

    async def build() -> ClosePosition:
        return ClosePosition(request_id=asked.id, follower_id=follower_id, symbol=symbol, whale_id=whale, actor=caller.actor)

    return await asked.command(follower_id, build)
