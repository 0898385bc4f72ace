"""What can go wrong with a Redis or Valkey, in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from responder.errors import StoreUnavailable, StoreUnreachable


@contextmanager
def translating() -> Iterator[None]:
    """Whatever a server or the network says becomes StoreUnavailable; where it says nothing, StoreUnreachable."""
    try:
        yield
    except (ResponseError, AuthenticationError, BusyLoadingError) as error:
        raise StoreUnavailable(refusal(error)) from error
    except (RedisError, OSError, TimeoutError) as error:
        if isinstance(error.__cause__ or error.__context__, AuthenticationError):  # of a new connection
            raise StoreUnavailable(refusal(error)) from error
        raise StoreUnreachable(f"the record store can't be reached: {error or type(error).__name__}") from error


# What a server says when it takes no writes, and what helps.
REMEDIES = {
    "OUTOFMEMORY": "raise its maxmemory, or have it evict (maxmemory-policy)",
    "READONLY": "it is a replica; redis.url must lead to the primary",
    "MISCONF": "it can't write its snapshots; see its log, or set stop-writes-on-bgsave-error no",
    "NOREPLICAS": "it has too few replicas for min-replicas-to-write",
    "LOADING": "it reads its data; wait",
    "SENTINELS DON'T LET US IN": "redis.sentinel_user or redis.sentinel_password_file isn't right, or missing",
    "NOAUTH": "name the file of its password in redis.password_file",
    "ALREADY AUTHENTICATED": "name the file of its password in redis.password_file",
    "INVALID USERNAME-PASSWORD": "the user in redis.url or the password in redis.password_file isn't right",
    "NOPERM": "its user may not do this",
}


def refusal(error: Exception) -> str:
    """A server's words, with what helps."""
    text = str(error).encode("ascii", "backslashreplace").decode()[:200]
    for word, remedy in REMEDIES.items():
        if word in text.upper() or word in type(error).__name__.upper():
            return f"the record store refused a command: {text}; {remedy}"
    return f"the record store refused a command: {text}"
