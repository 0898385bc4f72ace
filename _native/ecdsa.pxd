"""ECDSA-Sig-Value (RFC 3279 §2.2.3) and the pair of r and s that records keep: each of a fixed size, big-endian."""

from libc.stddef cimport size_t
from libc.string cimport memcpy, memset

from responder._native cimport der
from responder._native.der cimport In, Out, TLV


cdef inline void put_unsigned(Out* out, const unsigned char* value, size_t size) noexcept nogil:
    """INTEGER of an unsigned number."""
    cdef const unsigned char* end = out.position
    while size > 1 and value[0] == 0:
        value += 1
        size -= 1
    der.put(out, value, size)
    if value[0] & 0x80:
        der.put_octet(out, 0)
    der.wrap(out, der.INTEGER, end)


cdef inline void put_signature(Out* out, const unsigned char* r_and_s, size_t coordinate) noexcept nogil:
    cdef const unsigned char* end = out.position
    put_unsigned(out, r_and_s + coordinate, coordinate)
    put_unsigned(out, r_and_s, coordinate)
    der.wrap(out, der.SEQUENCE, end)


cdef inline bint split_signature(
    const unsigned char* signature, size_t size, unsigned char* r_and_s, size_t coordinate
) noexcept nogil:
    """Take r and s out of a signature; False when it isn't one, or its numbers are longer than `coordinate`."""
    cdef In outer = der.reader(signature, size)
    cdef In inner
    cdef TLV value
    cdef int half
    if not der.enter(&outer, der.SEQUENCE, &inner) or not der.at_end(&outer):
        return False
    memset(r_and_s, 0, 2 * coordinate)
    for half in range(2):
        if not der.read(&inner, der.INTEGER, &value) or not der.is_minimal_integer(value.content, value.length):
            return False
        if value.content[0] & 0x80:
            return False
        if value.content[0] == 0:
            value.content += 1
            value.length -= 1
        if value.length > coordinate:
            return False
        memcpy(r_and_s + <size_t> (half + 1) * coordinate - value.length, value.content, value.length)
    return der.at_end(&inner)
