"""Events as the tables need them: only the fields that end up in a column, amounts left as the text that the log holds.

Enters: the bytes of an accepted event. Leaves: a view. The bytes were made by `engine.domain.events`; reading them again as
Decimals only to print them would cost more than everything else here. A test holds every view against its event; old versions come
through the same upcasts.
"""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from engine.domain import events
from engine.errors import LogCorrupt
from engine.log.upcasts import UPCASTS, upcast


class View(msgspec.Struct, kw_only=True, tag_field="t", gc=False):
    """Base of all views. `at` is shard time in ms."""

    originator_id: str = msgspec.field(name="o")
    at: int = 0


class OrderView(msgspec.Struct, kw_only=True, gc=False):
    """`PlaceOrder`."""

    command_id: str
    follower_id: str
    venue: str
    symbol: str
    side: str
    quantity: str
    kind: str
    whale_id: str = ""
    cause: str
    leg: int = 0
    leverage: str = "1"
    limit_price: str | None = None
    reference_price: str | None = None
    expires_at: int | None = None
    priority: str = "medium"
    mode: str = "paper"
    detected_at: int = 0
    published_at: int = 0
    received_at: int = 0
    decided_at: int = 0


class SizingView(msgspec.Struct, kw_only=True, gc=False):
    """`Sizing`; inputs and cuts stay JSON."""

    mode: str
    inputs: msgspec.Raw
    wanted_quote: str
    final_quote: str
    quantity: str
    cuts: msgspec.Raw = msgspec.Raw(b"[]")


class SettingsView(msgspec.Struct, kw_only=True, gc=False):
    """`FollowerSettings`."""

    copy_trading_enabled: bool = True
    paused: bool = False
    mode: str = "paper"
    preferred_exchange: str = "binance"
    max_leverage: str = "1"
    limits: msgspec.Raw = msgspec.Raw(b"{}")


class TermsView(msgspec.Struct, kw_only=True, gc=False):
    """`FollowTerms`: what has a column of its own."""

    auto_copy_enabled: bool = True
    sizing: str = "fixed_quote"
    trade_size_usdt: str | None = None
    trade_size_percent: str | None = None


class SignalView(msgspec.Struct, kw_only=True, gc=False):
    """`Signal`."""

    signal_id: str
    whale_id: str
    source: str = "whale"
    symbol: str
    trade_type: str
    action: str
    side: str
    quantity: str
    price: str
    whale_order_id: str | None = None
    position_before: str | None = None
    position_after: str | None = None
    whale_equity: str | None = None
    leverage: str | None = None
    priority: str = "medium"
    detected_at: int
    expires_at: int | None = None
    whale_time: int | None = None
    published_at: int = 0


class PlaceView(msgspec.Struct, array_like=True, gc=False):
    """`SourcePosition`."""

    source: str
    partition: int
    offset: int


class AdjustmentView(msgspec.Struct, array_like=True, gc=False):
    """`LotAdjustment`."""

    whale_id: str
    direction: str
    before: str
    after: str


class FollowerConfigured(View, kw_only=True, tag="FollowerConfigured.v1"):
    settings: SettingsView
    config_version: int


class WhaleFollowed(View, kw_only=True, tag="WhaleFollowed.v1"):
    whale_id: str
    terms: msgspec.Raw
    config_version: int


class WhaleUnfollowed(View, kw_only=True, tag="WhaleUnfollowed.v1"):
    whale_id: str
    config_version: int


class CopyDecided(View, kw_only=True, tag="CopyDecided.v1"):
    signal_id: str
    whale_id: str
    symbol: str
    venue: str
    venue_symbol: str
    direction: str
    outcome: str
    config_version: int
    sizing: SizingView
    orders: list[OrderView] = []
    waiting: list[OrderView] = []
    open_reason: str = ""
    open_limit: str = ""
    open_value: str = ""


class CopySkipped(View, kw_only=True, tag="CopySkipped.v1"):
    signal_id: str
    whale_id: str
    symbol: str
    reason: str
    limit: str = ""
    value: str = ""
    config_version: int


class CopiesSkipped(View, kw_only=True, tag="CopiesSkipped.v1"):
    signal_id: str
    whale_id: str
    symbol: str
    reason: str
    limit: str = ""
    value: str = ""
    followers: list[tuple[str, int]]


class OrdersRequested(View, kw_only=True, tag="OrdersRequested.v1"):
    orders: list[OrderView] = []


class OrderEnded(View, kw_only=True, tag="OrderEnded.v1"):
    command_id: str
    cause: str
    whale_id: str
    venue: str
    venue_symbol: str
    direction: str
    kind: str
    status: str
    reason: str = ""
    raw_code: str = ""
    exchange_order_id: str = ""
    filled: str = "0"
    quantity: str = "0"
    average_price: str | None = None
    fee_base: str = "0"
    fee_quote: str = "0"
    realized_pnl: str = "0"
    slippage_bps: str | None = None
    attempts: int = 0
    attempted_at: int | None = None
    acknowledged_at: int | None = None
    settled_at: int = 0


class EquityRecorded(View, kw_only=True, tag="EquityRecorded.v1"):
    venue: str
    equity: str
    available: str
    reported_at: int


class FundingRecorded(View, kw_only=True, tag="FundingRecorded.v1"):
    venue: str
    venue_symbol: str
    shares: dict[str, str] = {}
    mode: str | None = None


class DriftDetected(View, kw_only=True, tag="DriftDetected.v1"):
    venue: str
    venue_symbol: str
    mode: str = "paper"
    adjustments: list[AdjustmentView] = []


class DustRecorded(View, kw_only=True, tag="DustRecorded.v1"):
    venue: str
    venue_symbol: str
    direction: str
    whale_id: str
    quantity: str
    mode: str = "paper"


class SignalAdmitted(View, kw_only=True, tag="SignalAdmitted.v1"):
    signal: SignalView
    src: PlaceView
    held: str = ""


class SignalReleased(View, kw_only=True, tag="SignalReleased.v1"):
    signal_id: str


class SignalDecided(View, kw_only=True, tag="SignalDecided.v1"):
    signal_id: str
    followers: int
    copied: int


class SignalExpired(View, kw_only=True, tag="SignalExpired.v1"):
    signal_id: str


VIEWS: Final[tuple[type[View], ...]] = tuple(View.__subclasses__())
"""One view for each event that concerns a table."""


def _decoder() -> msgspec.json.Decoder[Any]:
    """Every event of the log can be read; those that concern no table become empty."""
    seen = {view.__struct_config__.tag for view in VIEWS}
    others = [event.__struct_config__.tag for event in get_args(events.AnyEvent)]
    rest = [msgspec.defstruct("Other", [], tag=tag, tag_field="t", gc=False) for tag in others if tag not in seen]
    union: Any = VIEWS[0]
    for each in (*VIEWS[1:], *rest):
        union = union | each
    return msgspec.json.Decoder(union)


_DECODER: Final = _decoder()
_terms_decoder: Final = msgspec.json.Decoder(TermsView)


def decode_view(value: bytes) -> Any:
    """The view of an event, whatever version was written."""
    try:
        return _DECODER.decode(value)
    except msgspec.ValidationError as error:
        raw: Any = msgspec.json.decode(value)
        if not isinstance(raw, dict) or raw.get("t") not in UPCASTS:
            raise LogCorrupt(f"an event cannot be read ({error})") from error
        return _DECODER.decode(msgspec.json.encode(upcast(raw)))


def read_terms(raw: msgspec.Raw) -> TermsView:
    """The columns in a follow's terms."""
    return _terms_decoder.decode(raw)
