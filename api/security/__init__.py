"""Who asks, and what they may: the interface for every route of the API and every page of the dashboard.

In a route:

    @router.get("")
    async def list_things(caller: Reader) -> Things: ...  # or Follower, Trader, Admin: `Annotated[Principal, Depends(needs(scope))]`

`caller` is a `Principal`: frozen, with `key_id`, `name`, `scopes`, `follower_id`, `allows(scope)`, `sees(follower_id)` and `actor`, which
is what stands on the log. Without a key, or with a wrong, expired or revoked one, the answer is 401; without the scope 403; too many
requests 429: all RFC 9457 problems. `admin` includes the other scopes, which stand for themselves. A principal with a `follower_id` sees
that follower only: `caller.only(follower)` is the filter that a list must use, 404 is the answer for one row of somebody else's.

Ways to say who one is: the header `Authorization: Bearer rmk_...`, or the cookie `remora_session` (HttpOnly, SameSite=Lax).

In the dashboard: draw `GET /login` with a form that posts `api_key` and, if wanted, `next` (a path of ours) to `POST /login`. Right: 303
to `next` or `/`, with the cookie. Wrong: 303 to `/login?failed=1&next=...`. `POST /logout` ends the session, 303 to `/login`. A page takes
`caller: Visitor` (`Principal | None`; else 429) and sends strangers to `/login?next=...` itself. Every unsafe request that comes
with the cookie must carry `csrf_token(request)`: as header `X-CSRF-Token` (put it into a `<meta>` or `hx-headers`) or as form field
`csrf_token`; so must `POST /logout`. Requests with a key in the header need none. `EventSource` works with the cookie.

Long answers (SSE) ask once at the start: `still_allowed(request, caller)` says later whether the key or session still works.
"""

from api.security.guard import Admin, Follower, Guard, Operator, Reader, Trader, Visitor, needs, still_allowed
from api.security.principal import Principal, Scope
from api.security.session import COOKIE, csrf_token

__all__ = [
    "COOKIE",
    "Admin",
    "Follower",
    "Guard",
    "Operator",
    "Principal",
    "Reader",
    "Scope",
    "Trader",
    "Visitor",
    "csrf_token",
    "needs",
    "still_allowed",
]
