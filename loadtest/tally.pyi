"""What the client counts and keeps."""

class Progress:
    """What a run has had until now; read while it runs in another thread."""

    answered: int
    failed: int

def bucket_of(nanoseconds: int) -> int:
    """The index in the histogram of a latency."""
