"""What a turn without the GIL has for Python, in its order."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from responder._native.der cimport Bytes

cdef enum:
    NOBODY = -1           # descriptors: none,
    MISSING = -2          # none, but the name of a certificate to be looked for,
    LOOKED_FOR = -3       # and none, of a request whose certificate was

# A request for the chain, (with a descriptor) a connection to take over, (with a page) that its body is to be sent, or
# the name of a certificate.
ctypedef struct Letter:
    Letter* next
    uint64_t token
    int fd
    void* page
    bint closes
    size_t size
    uint8_t[1] octets     # as many as `size`


cdef class Mail:
    cdef Letter* first
    cdef Letter** last
    # False where there is no memory.
    cdef bint note(
        self, uint64_t token, int fd, Bytes octets, size_t size, void* page, bint closes
    ) noexcept nogil
    # Token, descriptor, octets, page, whether it closes; of each, which are no longer here then.
    cdef list take(self)
