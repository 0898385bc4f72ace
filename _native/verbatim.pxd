"""Answers that were made elsewhere: kept as they came."""

from responder._native.der cimport Span
from responder._native.records cimport Records
from responder._native.render cimport Constants

# Records, format 2. Raises ValueError for what can't be one.
cdef Records take_over(const Constants* profile, object status, object produced_at, object answers)
# What is signed in a successful OCSPResponse, and the signature; False where there is none.
cdef bint read_signed(const Span* response, Span* data, Span* signature) noexcept nogil
