"""The guard at every door: a request enters, a `Principal` or a 401, 403 or 429 leaves.

What the store says of a key is remembered for `CACHE_S`: a revoked key stops working within that time in every process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase

from api.errors import Forbidden, TooManyRequests, Unauthorised
from api.security.buckets import Buckets
from api.security.principal import Principal, Scope, principal_of
from api.security.session import COOKIE, check_csrf
from engine.config import Settings
from projections.access import AccessStore, hash_of
from projections.reads import Row

CACHE_S: Final = 1.0
MOST_CACHED: Final = 10_000
WRITE_COST: Final = 5.0
"""What an unsafe request takes of the bucket that a read takes one of."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

BEARER: Final = HTTPBearer(auto_error=False, scheme_name="key", description="An API key: `rmk_...`, made by `remora key create`.")
SESSION: Final = APIKeyCookie(
    name=COOKIE, auto_error=False, scheme_name="session", description="The dashboard's session, from `POST /login`."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
Session = Annotated[str | None, Security(SESSION)]


@dataclass(frozen=True)
class Verdict:
    """What the store said: who it is, or why not."""

    principal: Principal | None
    reason: str = ""


class Guard:
    """One for the process, at `app.state.guard`."""

    def __init__(self, settings: Settings, store: AccessStore) -> None:
        self.store = store
        self._buckets = Buckets(settings.api_rate, settings.api_burst)
        self._guesses = Buckets(settings.api_guesses / 20, settings.api_guesses)
        self._known: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    async def by_key(self, secret: str) -> Verdict:
        """Who an API key belongs to."""
        return await self._remembered(b"k" + hash_of(secret), lambda: self._ask_key(secret))

    async def by_session(self, token: str) -> Verdict:
        """Who a session belongs to."""
        return await self._remembered(b"s" + hash_of(token), lambda: self._ask_session(token))

    def forget(self, token: str) -> None:
        """A session ended here."""
        self._known.pop(b"s" + hash_of(token), None)

    def spend(self, principal: Principal, method: str) -> None:
        """Take from the key's budget. Errors: TooManyRequests."""
        _wait_for(self._buckets.take(principal.key_id, 1.0 if method in SAFE else WRITE_COST))

    def note_guess(self, address: str) -> None:
        """A wrong key came from an address. Errors: TooManyRequests."""
        _wait_for(self._guesses.take(address))

    async def _remembered(self, name: bytes, ask: Callable[[], Awaitable[Verdict]]) -> Verdict:
        now = time.monotonic()
        known = self._known.get(name)
        if known is not None and known[0] > now:
            return known[1]
        verdict = await ask()
        self._known[name] = (now + CACHE_S, verdict)
        self._known.move_to_end(name)
        if len(self._known) > MOST_CACHED:
            self._known.popitem(last=False)
        return verdict

    async def _ask_key(self, secret: str) -> Verdict:
        row = await self.store.key(secret)
        verdict = _judge(row, "The API key is not one of ours.")
        if verdict.principal is not None:
            await self.store.note_use(verdict.principal.key_id)
        return verdict

    async def _ask_session(self, token: str) -> Verdict:
        return _judge(await self.store.session(token), "There is no such session: log in again.")


def _judge(row: Row | None, unknown: str) -> Verdict:
    if row is None:
        return Verdict(None, unknown)
    if row["revoked"]:
        return Verdict(None, "The API key was revoked.")
    if row["expired"]:
        return Verdict(None, "The API key or the session has expired.")
    return Verdict(principal_of(row))


def _wait_for(seconds: float) -> None:
    if seconds > 0:
        raise TooManyRequests("Too many requests for this key or address.", headers={"Retry-After": str(ceil(seconds))})


def get_guard(request: Request) -> Guard:
    """The process's guard."""
    guard: Guard = request.app.state.guard
    return guard


async def _verdict(request: Request, bearer: HTTPAuthorizationCredentials | None, session: str | None) -> Verdict | None:
    """None: nothing was said about who asks. A key in the header goes before the cookie."""
    guard = get_guard(request)
    if bearer is not None:
        return await guard.by_key(bearer.credentials)
    return await guard.by_session(session) if session else None


async def identify(request: Request, bearer: Bearer, session: Session) -> Principal:
    """Who asks. Errors: Unauthorised, Forbidden (no CSRF token), TooManyRequests."""
    guard = get_guard(request)
    verdict = await _verdict(request, bearer, session)
    if verdict is None:
        raise Unauthorised("Send an API key: `Authorization: Bearer rmk_...`.")
    if verdict.principal is None:
        guard.note_guess(request.client.host if request.client else "")
        raise Unauthorised(verdict.reason)
    guard.spend(verdict.principal, request.method)
    if bearer is None and session and request.method not in SAFE:
        await check_csrf(request, session)
    return verdict.principal


async def visitor(request: Request, bearer: Bearer, session: Session) -> Principal | None:
    """Who asks, None for a stranger: for pages that send strangers to the login themselves. Errors: TooManyRequests."""
    guard, verdict = get_guard(request), await _verdict(request, bearer, session)
    if verdict is None:
        return None
    if verdict.principal is not None:
        guard.spend(verdict.principal, request.method)
    elif bearer is not None:  # A session that has ended is no guess.
        guard.note_guess(request.client.host if request.client else "")
    return verdict.principal


class Needs(SecurityBase):
    """A dependency that gives the `Principal` of a request if it has the scope.

    One callable for key, session and scope, told as the key's scheme (`api/openapi.py` adds the session): FastAPI takes more time to solve
    four dependencies than all of them do to answer.
    """

    def __init__(self, scope: Scope) -> None:
        self.model, self.scheme_name, self._scope = BEARER.model, BEARER.scheme_name, scope

    async def __call__(self, request: Request) -> Principal:
        principal = await identify(request, await BEARER(request), await SESSION(request))
        if not principal.allows(self._scope):
            raise Forbidden(f"This needs the scope {self._scope!r}; the key {principal.key_id} has {', '.join(sorted(principal.scopes))}.")
        return principal


def needs(scope: Scope) -> Needs:
    """What a route depends on."""
    return Needs(scope)


async def operator(principal: Annotated[Principal, Depends(needs("trade"))]) -> Principal:
    """`trade`, for everybody: not a key of one follower."""
    if principal.follower_id is not None:
        raise Forbidden("This concerns every follower: a key of one follower cannot do it.")
    return principal


async def still_allowed(request: Request, principal: Principal) -> bool:
    """Whether the key or session of a long answer still works."""
    verdict = await _verdict(request, await BEARER(request), await SESSION(request))
    return verdict is not None and verdict.principal == principal


Reader = Annotated[Principal, Depends(needs("read"))]
Follower = Annotated[Principal, Depends(needs("follow"))]
Trader = Annotated[Principal, Depends(needs("trade"))]
Operator = Annotated[Principal, Depends(operator)]
Admin = Annotated[Principal, Depends(needs("admin"))]
Visitor = Annotated[Principal | None, Depends(visitor)]
