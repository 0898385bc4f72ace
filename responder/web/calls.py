"""What calls of the operator's API have in common: who makes them, of which issuer, with which fields."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from starlette.requests import Request

from responder.operations.spelling import InvalidField, read_object
from responder.pki import Issuer, Issuers
from responder.web.body import read_body
from responder.web.manners import MAX_BODY_BYTES


class NoSuchIssuer(LookupError):
    """The path of a call names none."""


def client_of(request: Request) -> str:
    """Where a call came from."""
    return request.client.host if request.client is not None and request.client.host else "unknown"


def actor_of(request: Request) -> str:
    """Who makes a call, for the audit log: the name of the token, and where it came from."""
    return f"api:{request.state.token_name}@{client_of(request)}"


def issuer_of(request: Request, issuers: Issuers) -> Issuer:
    """The issuer that the path names.

    Raises:
        NoSuchIssuer: there is none.
    """
    issuer_id = request.path_params["issuer"]
    issuer = issuers.get(issuer_id)
    if issuer is None:
        known = ", ".join(sorted(issuer.id for issuer in issuers)) or "none yet"
        raise NoSuchIssuer(f"there is no issuer {issuer_id!r}; the issuers are: {known}")
    return issuer


async def read_json(request: Request, fields: AbstractSet[str]) -> dict[str, Any]:
    """The object in a call's body.

    Raises:
        InvalidField: it is too long, isn't one, or has a field that isn't one of these.
    """
    body = await read_body(request)
    if len(body) > MAX_BODY_BYTES:
        raise InvalidField(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return read_object(body, fields)
