"""Who a client is. A proxy that is trusted names the address it was asked from at the end of X-Forwarded-For; what stands
before the last address that isn't trusted was written by who knows whom."""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from responder._native.der cimport Span
from responder._native.framing cimport cs_is, next_in_list

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef enum:
    MAX_HOPS = 32        # addresses that are looked at, from the end
    NAME = 15            # octets of X-Forwarded-For
    MAX_TEXT = 64        # of an address

cdef const uint8_t* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


@cython.final
cdef class Networks:
    def __cinit__(self, object networks, /):
        cdef list held = list(networks)
        cdef bytes address
        cdef int bits, index
        self.networks = <Network*> calloc(max(len(held), 1), sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        for index, (address, bits) in enumerate(held):
            if len(address) == 4:
                address, bits = MAPPED[:12] + address, bits + 96
            if len(address) != 16 or not 0 <= bits <= 128:
                raise ValueError(f"{address!r}/{bits} is no network")
            memcpy(self.networks[index].address.octets, <Bytes> address, 16)
            self.networks[index].bits = bits
        self.count = len(held)

    def __dealloc__(self):
        free(self.networks)

    def __contains__(self, str address not None):
        cdef Address read
        cdef bytes text = address.encode()
        return read_address(text, len(text), &read) and self.has(&read)

    cdef bint has(self, const Address* address) noexcept nogil:
        cdef int index, octets, bits
        cdef const Network* network
        for index in range(self.count):
            network = &self.networks[index]
            octets, bits = network.bits // 8, network.bits % 8
            if memcmp(network.address.octets, address.octets, octets) == 0 and (
                bits == 0 or (network.address.octets[octets] ^ address.octets[octets]) >> (8 - bits) == 0
            ):
                return True
        return False


cdef bint is_ipv4(const Address* address) noexcept nogil:
    return memcmp(address.octets, MAPPED, 12) == 0


cdef bint read_address(Bytes text, size_t size, Address* address) noexcept nogil:
    cdef char[MAX_TEXT] copy
    cdef const uint8_t* colon = <const uint8_t*> memchr(text, 58, size)
    cdef Bytes end = text + size
    if size and text[0] == 91:                      # [IPv6]:port
        text += 1
        end = <const uint8_t*> memchr(text, 93, size - 1)
        if end == NULL:
            return False
    elif colon != NULL and memchr(colon + 1, 58, <size_t> (end - colon - 1)) == NULL:
        end = colon                                 # IPv4:port
    size = <size_t> (end - text)
    if size >= MAX_TEXT:
        return False
    memcpy(copy, text, size)
    copy[size] = 0
    if inet_pton(AF_INET, copy, address.octets + 12) == 1:
        memcpy(address.octets, MAPPED, 12)
        return True
    return inet_pton(AF_INET6, copy, address.octets) == 1


cdef void find_client(
    const Address* peer, Bytes head, size_t size, Networks trusted, Address* client
) noexcept nogil:
    cdef Span[MAX_HOPS] hops
    cdef uint32_t count, step
    cdef Address named
    client[0] = peer[0]
    if not trusted.has(peer):
        return
    count = find_hops(head, size, hops)
    for step in range(1, min(count, <uint32_t> MAX_HOPS) + 1):
        if not read_address(hops[(count - step) % MAX_HOPS].data, hops[(count - step) % MAX_HOPS].size, &named):
            return
        client[0] = named
        if not trusted.has(client):
            return


cdef uint32_t find_hops(Bytes head, size_t size, Span* hops) noexcept nogil:
    """How many addresses all X-Forwarded-For name, and the last of them: each at its number modulo MAX_HOPS."""
    cdef Bytes end = head + size
    cdef Bytes line = head
    cdef Bytes after, first, last
    cdef uint32_t count = 0
    while line < end:
        after = <Bytes> memchr(line, 10, <size_t> (end - line))
        if after == NULL:
            break
        if after - line > NAME and line[NAME] == 58 and cs_is(line, b"x-forwarded-for", NAME):
            line += NAME + 1
            while next_in_list(&line, after - 1, &first, &last):
                if last > first:
                    hops[count % MAX_HOPS].data, hops[count % MAX_HOPS].size = first, <size_t> (last - first)
                    count += 1
        line = after + 1
    return count
