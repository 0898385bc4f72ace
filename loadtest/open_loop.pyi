"""A client that sends requests at a constant rate, whatever the answers do."""

import socket
from collections.abc import Iterable, Sequence

def at_rate(
    sockets: Iterable[socket.socket],
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    spared: float,
    percentiles: Sequence[float],
) -> tuple[int, list[int]]:
    """Send requests, in turn, so many a second over connected sockets, one at a time on each, and take the time of each
    answer from when its request was due: one that had to wait for a connection has waited (no coordinated omission).

    Args:
        rate: a second; 1 to 10,000,000.
        seconds: how long, 600 at most.
        spared: seconds at the beginning that aren't counted.
        percentiles: ascending fractions, such as 0.5 and 0.99.

    Returns:
        How many were counted, and the latency in microseconds of each percentile. A core is busy all the time.

    Raises:
        RuntimeError: an answer isn't a 200 with a Content-Length, or there is none for 5 s.
    """
