"""Errors as RFC 9457 problems: exceptions enter, `application/problem+json` with a type of ours leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_problem.error import BadRequestProblem, NotFoundProblem, Problem, StatusProblem
from fastapi_problem.handler import add_exception_handler, new_exception_handler
from pydantic import BaseModel, Field

from engine.errors import ContractViolation, DependencyUnreachable
from projections.reads import ValueRefused

log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """One field that is wrong: its path, such as `body.terms.multiplier`, and what is expected there. Values are not repeated."""

    field: str
    expected: str


class ProblemBody(BaseModel):
    """RFC 9457. `type` is one of ours, a plain word."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] = Field(default=[], description="the fields that are wrong, if it is about fields")


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems that a route can answer with, for the OpenAPI page."""
    shape = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": MEANINGS[status], "content": shape} for status in statuses}


MEANINGS: Final = {
    400: "The request cannot be understood.",
    401: "No key, or one that does not work.",
    403: "The key does not allow this.",
    404: "There is no such thing, or it is not yours.",
    405: "Not with this method.",
    409: "It does not fit what is there.",
    413: "The body is too large.",
    422: "A field is wrong.",
    429: "Too many requests: see `Retry-After`.",
    503: "Postgres or Kafka does not answer, or the tables have not come to `min_position`: ask again.",
}
READS: Final = (400, 401, 403, 422, 429, 503)
WRITES: Final = (400, 401, 403, 404, 409, 413, 422, 429, 503)


class BadCursor(BadRequestProblem):
    """A cursor that no list of ours gave."""

    type_ = "bad-cursor"
    title = "The cursor cannot be used."


class BadPosition(BadRequestProblem):
    """A `min_position` that is no position."""

    type_ = "bad-position"
    title = "The position cannot be read."


class BadValue(BadRequestProblem):
    """A value that no column can hold, such as a text with a NUL."""

    type_ = "bad-value"
    title = "A value cannot be used."


class Unknown(NotFoundProblem):
    """Nothing has this id."""

    type_ = "not-found"
    title = "Not found."


class Conflict(StatusProblem):
    """It does not fit what is there."""

    type_ = "conflict"
    title = "It does not fit what is there."
    status = 409


class KeyReused(StatusProblem):
    """An `Idempotency-Key` came with another request than before."""

    type_ = "idempotency-key-reused"
    title = "The Idempotency-Key was used for another request."
    status = 422


class NotVisibleYet(StatusProblem):
    """The read models have not come to `min_position` in time: ask again."""

    type_ = "not-visible-yet"
    title = "The read models have not come that far."
    status = 503


class Unavailable(StatusProblem):
    """Postgres or Kafka does not answer."""

    type_ = "unavailable"
    title = "Postgres or Kafka cannot be reached."
    status = 503


class Unauthorised(StatusProblem):
    """No key, or one that does not work."""

    type_ = "unauthorised"
    title = "An API key is needed."
    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="remora"'})


class Forbidden(StatusProblem):
    """The key works, but not for this."""

    type_ = "forbidden"
    title = "The key does not allow this."
    status = 403


class TooLarge(StatusProblem):
    """A body above the limit."""

    type_ = "too-large"
    title = "The body is too large."
    status = 413


class TooManyRequests(StatusProblem):
    """More than the key or the address may send: wait as long as `Retry-After` says."""

    type_ = "too-many-requests"
    title = "Too many requests."
    status = 429


class Unexpected(StatusProblem):
    """A bug of ours: what it was stands in our log."""

    type_ = "unhandled-exception"
    title = "Unhandled exception occurred."
    status = 500

    def __init__(self, _: str) -> None:
        super().__init__("It is a mistake of the server, which has written it down.")


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Fields that are wrong."""
    detail = "; ".join(f"{error.field}: {error.expected}" for error in errors)[:500]
    shown = [error.model_dump() for error in errors]
    return Problem(title="A field is wrong.", type_="request-validation-failed", status=422, detail=detail, errors=shown)


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem; what is unexpected says nothing about our inside."""
    handlers: Any = {DependencyUnreachable: _unavailable, ValueRefused: _bad_value, ContractViolation: _violation}
    handler = new_exception_handler(
        logger=log, unhandled_wrappers={"default": Unexpected}, handlers=handlers, request_validation_handler=_invalid
    )
    add_exception_handler(app, handler, generic_swagger_defaults=False)


def _bad_value(handler: object, request: object, error: Exception) -> Problem:
    return BadValue("Postgres cannot take a value of this request.")


def _unavailable(handler: object, request: object, error: Exception) -> Problem:
    log.warning("unavailable: %s", error)
    return Unavailable(headers={"Retry-After": "1"})


def _violation(handler: object, request: object, error: ContractViolation) -> Problem:
    return invalid([FieldError(field=f"body.{error.field}", expected=error.expected)])


def _invalid(handler: object, request: object, error: RequestValidationError) -> Problem:
    """Without the values: a form of ours carries a key."""
    return invalid([_field_error(found) for found in error.errors()[:20]])


def _field_error(found: Any) -> FieldError:
    path, message = [str(part) for part in found["loc"]], str(found["msg"]).removeprefix("Value error, ")
    context = found.get("ctx") or {}
    if found["type"] == "contract":
        path, message = [*path, context["field"]], context["expected"]
    return FieldError(field=".".join(path), expected=message)
