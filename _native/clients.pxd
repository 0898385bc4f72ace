"""Who a client is: an IP address, by its connection or as a proxy says that we trust."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from responder._native.der cimport Bytes

# IPv6; IPv4 as ::ffff:0:0/96.
ctypedef struct Address:
    uint8_t[16] octets

ctypedef struct Network:
    Address address
    int bits


cdef class Networks:
    cdef Network* networks
    cdef int count
    cdef bint has(self, const Address* address) noexcept nogil

cdef bint is_ipv4(const Address* address) noexcept nogil
# The address of a text as in X-Forwarded-For, which may have a port; False where it is none.
cdef bint read_address(Bytes text, size_t size, Address* address) noexcept nogil
# Who asks, by the X-Forwarded-For of a request's head that came from `peer`: the last address that isn't `trusted`.
cdef void find_client(
    const Address* peer, Bytes head, size_t size, Networks trusted, Address* client
) noexcept nogil
