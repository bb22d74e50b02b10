"""Views read what events are: no field that the event does not have, no default that differs, every event readable."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest

from engine.domain import events, messages, values
from engine.errors import LogCorrupt
from engine.log.codec import encode
from engine.log.upcasts import UPCASTS
from projections import views
from projections.views import VIEWS, decode_view, read_terms
from tests import logbook

PAIRS: list[tuple[type[Any], type[Any]]] = [(view, getattr(events, view.__name__)) for view in VIEWS] + [
    (views.OrderView, messages.PlaceOrder),
    (views.SizingView, events.Sizing),
    (views.SettingsView, values.FollowerSettings),
    (views.TermsView, values.FollowTerms),
    (views.SignalView, values.Signal),
    (views.PlaceView, messages.SourcePosition),
    (views.AdjustmentView, events.LotAdjustment),
]


def plain(value: Any) -> Any:
    """A default as the log would show it; sequences of any kind are equal when empty."""
    shown = msgspec.json.decode(msgspec.json.encode(value))
    return shown or None if not isinstance(shown, bool | int) else shown


@pytest.mark.parametrize(("view", "event"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_view_has_its_events_fields_and_defaults(view: type[Any], event: type[Any]) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(event)}
    for field in msgspec.structs.fields(view):
        source = fields[field.name]
        assert field.encode_name == source.encode_name
        assert field.required == source.required, field.name
        if not field.required:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            expected = source.default if source.default is not msgspec.NODEFAULT else source.default_factory()
            assert plain(default) == plain(expected), field.name


ARRAYS = [pair for pair in PAIRS if pair[1].__struct_config__.array_like]


@pytest.mark.parametrize(("view", "event"), ARRAYS, ids=lambda kind: kind.__name__)
def test_array_views_keep_the_order(view: type[Any], event: type[Any]) -> None:
    assert view.__struct_fields__ == event.__struct_fields__[: len(view.__struct_fields__)]


def test_every_event_of_the_log_can_be_read() -> None:
    tags = {event.__struct_config__.tag for event in get_args(events.AnyEvent)}
    for tag in tags - {view.__struct_config__.tag for view in VIEWS}:
        assert type(decode_view(msgspec.json.encode({"t": tag, "o": "shard-0", "v": 1}))).__name__ == "Other"


def test_amounts_stay_as_they_are_written() -> None:
    placed = logbook.order("f", quantity=Decimal("0.00200"))
    view = decode_view(encode(logbook.copied("f", placed)))
    assert (view.orders[0].quantity, view.orders[0].limit_price, view.sizing.final_quote) == ("0.00200", "60300", "120")
    assert bytes(view.sizing.inputs) == b'{"trade_size_usdt":"120"}'
    terms = read_terms(decode_view(encode(logbook.followed("f", trade_size_usdt=Decimal("7.50")))).terms)
    assert (terms.trade_size_usdt, terms.auto_copy_enabled) == ("7.50", True)


def test_old_versions_come_through_the_upcasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTS, "SignalExpired.v0", lambda raw: raw | {"t": "SignalExpired.v1", "signal_id": raw["id"]})  # type: ignore[arg-type]
    assert decode_view(b'{"t":"SignalExpired.v0","o":"shard-0","v":1,"id":"s-9"}').signal_id == "s-9"


@pytest.mark.parametrize("value", [b'{"t":"Nobody.v1","o":"f","v":1}', b"[]", b"7", b'{"t":"SignalExpired.v1","o":"f","v":1}'])
def test_what_cannot_be_read_is_said(value: bytes) -> None:
    with pytest.raises(LogCorrupt, match="an event cannot be read"):
        decode_view(value)
