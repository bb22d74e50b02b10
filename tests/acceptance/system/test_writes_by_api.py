"""An operator and a follower steer the running system through the API alone, and read their own writes.

The last file of this folder: it sets a switch, and what the other tests hold against the oracle must not know any.
"""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from ops.commands.key import create_key
from tests.system import System

Json = dict[str, Any]
TERMS = {"sizing": "fixed_quote", "trade_size_usdt": "100", "start_mode": "now", "limits": {"max_position_quote": "500"}}


def client(system: System, secret: str) -> httpx.Client:
    """A client with a key."""
    return httpx.Client(base_url=system.api_url, headers={"Authorization": f"Bearer {secret}"}, timeout=20)


def write(http: httpx.Client, method: str, path: str, body: Json | None = None, expected: int = 202, key: str | None = None) -> Json:
    """The answer to a write."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    answer = http.request(method, path, headers=headers, **({} if body is None else {"json": body}))
    assert answer.status_code == expected, answer.text
    found: Json = answer.json()
    return found


def read(http: httpx.Client, path: str, after: Json, **query: str) -> Json:
    """A read that has seen a write."""
    answer = http.get(path, params=query | {"min_position": after["position"]})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


@pytest.fixture
def admin(system: System) -> Any:
    """A key that may do everything."""
    with client(system, system.api_key.get_secret_value()) as http:
        yield http


def test_a_follower_reads_its_own_writes(system: System, admin: httpx.Client) -> None:
    name, whale = f"api-{uuid.uuid4().hex[:8]}", f"w-{uuid.uuid4().hex[:8]}"
    made = write(admin, "POST", "/v1/followers", {"follower_id": name, "preferred_exchange": "binanceusdm", "limits": {"cooldown_ms": 5}})
    assert read(admin, f"/v1/followers/{name}", made)["item"]["limits"] == {"cooldown_ms": 5}
    secret = create_key(system.settings, name, ["read", "follow", "trade"], name).secret.get_secret_value()
    with client(system, secret) as own:
        patch = {"paused": True, "max_leverage": "3", "limits": {"max_exposure_quote": "1000", "cooldown_ms": None}}
        write(own, "PATCH", f"/v1/followers/{name}", patch)
        followed = write(own, "PUT", f"/v1/followers/{name}/follows/{whale}", TERMS)
        page = read(own, f"/v1/followers/{name}", followed)
        assert (page["item"]["paused"], page["item"]["max_leverage"], page["item"]["config_version"]) == (True, "3", 2)
        assert page["item"]["limits"] == {"max_exposure_quote": "1000"}, "null took the other one away"
        [follow] = page["follows"]
        assert (follow["whale_id"], follow["terms"]["trade_size_usdt"], follow["unfollowed_at"]) == (whale, "100", None)
        assert [item["whale_id"] for item in read(own, "/v1/whales", followed)["items"] if item["whale_id"] == whale] == [whale]
        gone = write(own, "DELETE", f"/v1/followers/{name}/follows/{whale}")
        assert read(own, f"/v1/followers/{name}", gone)["follows"][0]["unfollowed_at"] is not None
    trail = admin.get("/v1/audit", params={"actor": f"key:{secret.split('_')[1]}"}).json()["items"]
    assert [item["kind"] for item in trail] == ["UnfollowWhale", "FollowWhale", "ConfigureFollower"]


def test_a_switch_stops_a_signal_by_hand(system: System, admin: httpx.Client) -> None:
    name, whale = f"api-{uuid.uuid4().hex[:8]}", f"w-{uuid.uuid4().hex[:8]}"
    made = write(admin, "POST", "/v1/followers", {"follower_id": name, "preferred_exchange": "binanceusdm"})
    write(admin, "PUT", f"/v1/followers/{name}/follows/{whale}?min_position={made['position']}", TERMS)
    halted = write(admin, "POST", "/v1/switches/halt", {"scope": "whale", "target": whale, "reason": "a drill"})
    switches = admin.get("/v1/switches", params={"min_position": halted["position"]}).json()["items"]
    assert [(item["state"], item["reason"]) for item in switches if item["target"] == whale] == [("halt", "a drill")]
    signal = {
        "whale_id": whale, "symbol": "ETH/USDC:USDC", "trade_type": "futures", "action": "open", "side": "buy", "quantity": "1",
        "price": "3000", "position_before": "0", "position_after": "1",
    }  # fmt: skip
    published = write(admin, "POST", "/v1/signals", signal, key=f"by-hand-{whale}")
    [decision] = read(admin, "/v1/decisions", published, signal=published["id"])["items"]
    assert (decision["outcome"], decision["reason"]) == ("skipped", "kill_switch")
    resumed = write(admin, "POST", "/v1/switches/resume", {"scope": "whale", "target": whale})
    assert read(admin, "/v1/signals", resumed, whale=whale)["items"][0]["source"] == "manual"
