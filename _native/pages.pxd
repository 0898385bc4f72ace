"""Whole bodies under fixed paths, with what caches are told of them."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from responder._native.der cimport Bytes, Out, Span

cdef enum:
    MAX_PATH = 128
    MAX_TAG = 64

ctypedef struct PageData:
    Bytes path
    size_t path_size
    Bytes body
    size_t body_size
    Bytes media_type
    size_t media_type_size
    bint is_dated            # and may be kept; all that follows says how
    uint8_t[MAX_TAG] tag
    size_t tag_size
    int64_t this_update      # seconds since 1970
    int64_t next_update      # nothing to be seen from then on
    int64_t fresh_until
    int64_t max_age          # seconds
    void* page               # whose data this is


cdef class Page:
    cdef PageData data
    cdef object held


cdef class Pages:
    cdef const PageData** places
    cdef uint64_t mask
    cdef list held
    cdef const PageData* find(self, Bytes path, size_t size) noexcept nogil


cdef void put_page_head(
    Out* out, const PageData* page, bint is_known, bint closes, const Span* stamp, int64_t ceiling
) noexcept nogil
