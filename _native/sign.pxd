"""Signing under a profile. The caller holds what `profile` points into."""

from responder._native.keys cimport PrivateKey
from responder._native.render cimport Constants

# One complete DER OCSPResponse. Raises ValueError for a status that can't be encoded, SigningFailed from libcrypto.
cdef bytes sign_response(const Constants* profile, PrivateKey key, object singles, object produced_at, bytes nonce)
# A record for each status, in order; raises as sign_response.
cdef list sign_records(const Constants* profile, PrivateKey key, object statuses, object variants, object produced_at)
