"""One value of any message type with every field set, always the same: what golden files are made of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import msgspec
from msgspec import inspect

from engine.domain.events import AnyEvent, RoundCommitted, ShardClaimed

STORED: tuple[type[msgspec.Struct], ...] = (*get_args(AnyEvent), ShardClaimed, RoundCommitted)
"""Everything that is ever written to `follower.events.v1`."""


def sample(kind: type[msgspec.Struct]) -> Any:
    """A value of a struct, all fields set."""
    return msgspec.convert(_value(inspect.type_info(kind), kind.__name__), kind, str_keys=True)


def _value(kind: inspect.Type, name: str) -> Any:
    number = sum(name.encode()) % 97 + 1
    match kind:
        case inspect.StructType() if kind.array_like:
            return [_value(field.type, field.name) for field in kind.fields]
        case inspect.StructType():
            tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
            return tag | {field.encode_name: _value(field.type, field.name) for field in kind.fields}
        case inspect.UnionType():
            return _value(next(part for part in kind.types if not isinstance(part, inspect.NoneType)), name)
        case inspect.LiteralType():
            return kind.values[-1]
        case inspect.VarTupleType() | inspect.ListType():
            return [_value(kind.item_type, name)]
        case inspect.TupleType():
            return [_value(part, f"{name}{place}") for place, part in enumerate(kind.item_types)]
        case inspect.DictType():
            return {f"{name}-key": _value(kind.value_type, name)}
        case inspect.DecimalType():
            return Decimal(number) / 8
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return number
        case _:
            assert isinstance(kind, inspect.StrType), kind
            return f"{name}-{number}"
