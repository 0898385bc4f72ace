"""Signing many certificates' answers as records, under a profile. The caller holds what `profile` points into."""

from responder._native.copied cimport CopiedStatuses
from responder._native.keys cimport PrivateKey
from responder._native.render cimport Constants

# A record for each status, in order. Raises ValueError for a status that can't be encoded, SigningFailed from libcrypto.
cdef list sign_records(const Constants* profile, PrivateKey key, object statuses, object variants, object produced_at)
# The same of those that are good at `now`, in microseconds; None for the others.
cdef list sign_goods(
    const Constants* profile,
    PrivateKey key,
    CopiedStatuses statuses,
    object variants,
    object this_update,
    object next_update,
    object now,
)
