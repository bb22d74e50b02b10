"""Errors as RFC 9457 problems: exceptions enter, `application/problem+json` with a type of ours leaves."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from fastapi_problem.error import BadRequestProblem, NotFoundProblem, Problem, StatusProblem
from fastapi_problem.handler import add_exception_handler, new_exception_handler

from engine.errors import DependencyUnreachable
from projections.reads import ValueRefused

log = logging.getLogger(__name__)


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


class NotVisibleYet(StatusProblem):
    """The read models have not come to `min_position` in time: ask again."""

    type_ = "not-visible-yet"
    title = "The read models have not come that far."
    status = 503


class Unavailable(StatusProblem):
    """Postgres does not answer."""

    type_ = "unavailable"
    title = "The read models cannot be reached."
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


class TooManyRequests(StatusProblem):
    """More than the key or the address may send: wait as long as `Retry-After` says."""

    type_ = "too-many-requests"
    title = "Too many requests."
    status = 429


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem; what is unexpected says nothing about our inside."""
    handlers: Any = {DependencyUnreachable: _unavailable, ValueRefused: _bad_value}
    add_exception_handler(app, new_exception_handler(logger=log, handlers=handlers))


def _bad_value(handler: object, request: object, error: Exception) -> Problem:
    return BadValue("Postgres cannot take a value of this request.")


def _unavailable(handler: object, request: object, error: Exception) -> Problem:
    log.warning("read models unavailable: %s", error)
    return Unavailable(headers={"Retry-After": "1"})
