"""The audit log: who did what, written in the transaction that does it."""

from __future__ import annotations

from collections.abc import Mapping

from responder.storage.postgres import Connection

_ACTOR_CHARACTERS = 200


async def audit(
    connection: Connection,
    actor: str,
    action: str,
    detail: Mapping[str, object],
    *,
    issuer_id: str | None = None,
    serial: bytes | None = None,
) -> None:
    """Add a line. An `actor` of more than 200 characters is cut; `detail` is kept as JSON."""
    await connection.execute(
        "INSERT INTO audit_log (actor, action, issuer_id, serial, detail) VALUES ($1, $2, $3, $4, $5)",
        actor[:_ACTOR_CHARACTERS],
        action,
        issuer_id,
        serial,
        dict(detail),
    )
