"""Real Postgres and Valkey as child processes, for the demo and for our own tests. Only the URL differs from servers
that an operator runs.

Everything here is synchronous and leaves no thread behind: whoever starts servers may fork afterwards.
"""

from __future__ import annotations

from responder.embedded.postgres import EmbeddedPostgres, find_postgres
from responder.embedded.valkey import EmbeddedValkey, find_valkey

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "find_postgres",
    "find_valkey",
]
