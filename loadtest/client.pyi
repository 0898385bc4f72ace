"""A client that sends requests at a constant rate, whatever the answers do, or as fast as they are answered."""

from collections.abc import Sequence

from loadtest.tally import Progress

def ask(
    where: tuple[str, int],
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    spared: float,
    connections: int,
    sources: Sequence[str] = (),
    tls: bool = False,
    server_name: str = "",
    intervals: int = 1,
    every: int = 0,
    progress: Progress | None = None,
) -> tuple[list[bytes], dict[int, int], dict[str, int], dict[str, int], list[tuple[int, int, int, bytes]]]:
    """Send HTTP/1.1 requests in turn, one at a time on each connection. A core is busy all the time, but for rates
    below 300 a second; the GIL is free.

    With a rate, each answer's time counts from when its request was due: one that had to wait for a connection has
    waited (no coordinated omission). Without one, a request is due when a connection is free for it. A connection is
    opened when it is needed first, and again when the server has closed it; opening it is part of the answer's time.

    Args:
        where: an IP address and a port.
        rate: a second, at most 10,000,000; 0: the next one as soon as one is answered.
        seconds: how long, 600 at most.
        spared: seconds at the beginning that aren't counted.
        sources: addresses to ask from, in turn.
        tls: speak TLS; the server's certificate isn't verified.
        server_name: what to call the server then (SNI); empty for one that is known by its address.
        intervals: in how many equal parts what is counted is told.
        every: keep one answer of so many, at random; 0 keeps none. At most 256 MiB are kept.

    Returns:
        For each interval the latencies as a histogram (uint32, see `loadtest.outcome`); how many answers there were
        of each HTTP status, and of status 200 with each OCSP error; `connections` opened, `octets` received, and what
        went wrong: `dropped` (the connection ended with the answer missing), `refused` (it couldn't be opened),
        `unreadable` (no HTTP), `unanswered` (soon after the end; these are in the histogram too, as long as they have
        waited); the kept answers, each with the index of its request, when that was sent and when it was answered
        (nanoseconds of the monotonic clock), and its octets.

    Raises:
        OSError: no connection could be opened, or a source address isn't ours.
    """
