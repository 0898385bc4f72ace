"""What a load balancer says first on a connection: whose it is."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy, memset

from responder._native.clients cimport read_address

cdef enum:
    MAX_LINE = 107        # of version 1, with CR LF
    FIXED = 16            # of version 2, before the addresses
    MAX_BLOCK = 4096      # of addresses and what follows them
    LOCAL = 0x20          # version 2: a look at whether we are alive
    PROXIED = 0x21
    INET = 0x1
    INET6 = 0x2

cdef const uint8_t* SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef const uint8_t* WORD = b"PROXY "


cdef Announced read_proxy_header(Bytes data, size_t size, size_t* used, Address* client) noexcept nogil:
    if memcmp(data, SIGNATURE, min(size, <size_t> 12)) == 0:
        return read_block(data, size, used, client)
    if memcmp(data, WORD, min(size, <size_t> 6)) == 0:
        return read_line(data, size, used, client)
    return WRONG


cdef Announced read_block(Bytes data, size_t size, size_t* used, Address* client) noexcept nogil:
    cdef size_t length
    cdef int family
    if size < FIXED:
        return PART
    length = <size_t> data[14] << 8 | data[15]
    if length > MAX_BLOCK or data[12] not in (LOCAL, PROXIED):
        return WRONG
    if size < FIXED + length:
        return PART
    used[0] = FIXED + length
    family = data[13] >> 4
    if data[12] == LOCAL or family not in (INET, INET6):
        return UNNAMED
    if length < <size_t> (12 if family == INET else 36):
        return WRONG
    if family == INET6:
        memcpy(client.octets, data + FIXED, 16)
        return NAMED
    memset(client.octets, 0, 10)
    memset(client.octets + 10, 0xFF, 2)
    memcpy(client.octets + 12, data + FIXED, 4)
    return NAMED


cdef Announced read_line(Bytes data, size_t size, size_t* used, Address* client) noexcept nogil:
    """`PROXY TCP4 source destination port port`, or UNKNOWN and whatever follows."""
    cdef const uint8_t* end = <const uint8_t*> memchr(data, 10, min(size, <size_t> MAX_LINE))
    cdef const uint8_t* blank
    cdef bint is_ipv4
    if end == NULL:
        return WRONG if size >= MAX_LINE else PART
    if (end - 1)[0] != 13:
        return WRONG
    used[0] = <size_t> (end + 1 - data)
    data += 6
    if end - data >= 8 and memcmp(data, b"UNKNOWN", 7) == 0 and data[7] in (13, 32):
        return UNNAMED
    is_ipv4 = end - data >= 5 and memcmp(data, b"TCP4 ", 5) == 0
    if not is_ipv4 and (end - data < 5 or memcmp(data, b"TCP6 ", 5) != 0):
        return WRONG
    data += 5
    blank = <const uint8_t*> memchr(data, 32, <size_t> (end - data))
    if blank == NULL or data[0] == 91 or (memchr(data, 58, <size_t> (blank - data)) == NULL) != is_ipv4:
        return WRONG
    return NAMED if read_address(data, <size_t> (blank - data), client) else WRONG


def proxy_header(bytes said not None, /):
    cdef size_t used = 0
    cdef Address client
    cdef Announced found = read_proxy_header(said, len(said), &used, &client) if said else PART
    if found == PART:
        return None
    if found == WRONG:
        raise ValueError("no PROXY header")
    return used, <bytes> client.octets[:16] if found == NAMED else b""
