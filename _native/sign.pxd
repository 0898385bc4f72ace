"""Signing under a profile. The caller holds what `profile` points into."""

from responder._native.algorithms cimport Algorithm
from responder._native.keys cimport PrivateKey
from responder._native.render cimport Constants, Single

cdef enum:
    MAX_SERIAL = 16384   # as long as a request may be

# One complete DER OCSPResponse. Raises ValueError for a status that can't be encoded, SigningFailed from libcrypto.
cdef bytes sign_response(const Constants* profile, PrivateKey key, object singles, object produced_at, bytes nonce)
# What the key signs with under a profile. Raises ValueError where it doesn't.
cdef const Algorithm* algorithm_for(const Constants* profile, PrivateKey key) except NULL
# Check one status and point into its octets, which the caller keeps alive. Raises ValueError.
cdef int fill_single(
    Single* single,
    object variant,
    bytes serial,
    object cert_status,
    object revocation_time,
    object reason,
    object this_update,
    object next_update,
    bytes extensions,
) except -1
