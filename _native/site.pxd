"""What the site says to a request, without Python: from the table, from a page, or that it is too much."""

from libc.stdint cimport int64_t, uint8_t

from responder._native cimport get_path
from responder._native.answer cimport Outcome, Responder, Want
from responder._native.clients cimport Address
from responder._native.der cimport Bytes, Out
from responder._native.framing cimport Head
from responder._native.gate cimport Gate
from responder._native.pages cimport PageData, Pages


cdef class Site:
    cdef Responder responder
    cdef Pages pages
    cdef Gate gate
    cdef uint8_t[get_path.MAX_TARGET] text
    cdef uint8_t[get_path.MAX_TARGET] found
    cdef Outcome look_up(
        self, const Head* head, Bytes data, Want want, int64_t now, Out* out, int* price
    ) noexcept nogil
    cdef bint shows(self, const Head* head, int64_t now, Out* out, const PageData** following) noexcept nogil
    cdef bint admits(
        self,
        const Address* peer,
        const Head* head,
        Bytes data,
        bint is_hit,
        int price,
        int64_t now,
        int64_t monotonic,
        Out* out,
    ) noexcept nogil
