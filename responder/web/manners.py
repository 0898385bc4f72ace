"""What connections may do, by the lane and by Hypercorn."""

from __future__ import annotations

from dataclasses import dataclass, field

from responder.pki import Networks

MAX_BODY_BYTES = 16_384
"""Of a request."""


@dataclass(frozen=True, slots=True)
class Manners:
    """Of one process.

    Attributes:
        connections: of the lane; one more closes the one that is idle for longest, or waits.
        other_connections: of Hypercorn; one more closes the one that is idle for longest, or is closed.
        connections_a_client: of one IPv4 address or IPv6 /64, of each of the two.
        idle_seconds: a connection on which nothing comes for so long, or that takes less than 64 KiB of what it is
            sent, is closed.
        request_seconds: for the head of a request; then for its body.
        announced: load balancers whose connections begin with whose they are (PROXY protocol); one that doesn't is
            closed.
        spared: whose connections aren't counted.
    """

    connections: int = 16_384
    other_connections: int = 1024
    connections_a_client: int = 512
    idle_seconds: float = 15.0
    request_seconds: float = 5.0
    announced: Networks = field(default_factory=lambda: Networks(()))
    spared: Networks = field(default_factory=lambda: Networks(()))


DEFAULT_MANNERS = Manners()
