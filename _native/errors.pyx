"""libcrypto's error queue as text. Cleared before an operation, drained after a failure."""

from responder._native cimport libcrypto


cdef str drain_errors():
    """Everything in this thread's queue, oldest first, and leave it empty."""
    cdef unsigned long code
    cdef char[256] buffer
    reasons = []
    while True:
        code = libcrypto.ERR_get_error()
        if code == 0:
            break
        libcrypto.ERR_error_string_n(code, buffer, sizeof(buffer))
        reasons.append((<bytes> buffer).decode("ascii", "replace"))
    return "; ".join(reasons) or "no reason given"
