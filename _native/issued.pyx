"""Which certificates were issued at all: a Bloom filter in the memory that a host's processes share.

What was added is always found. Of the rest one in so many is found as well: with 7 bits of a block of 512, 1 in 100 where
there are 10 bits for each certificate, 1 in 3,000 where there are 20. All bits of a certificate are in one line of the
cache. There is one writer, and bits are only set, so readers need nothing.
"""

cimport cython
from libc.string cimport memcpy

from responder._native cimport atomics
from responder._native.der cimport span
from responder._native.hashing cimport ISSUER_TAG, Hash, hash_of

cdef extern from *:
    int popcount "__builtin_popcountll"(uint64_t word) nogil

cdef enum:
    HEADER = 4096
    BLOCK = 64           # octets
    WORDS = 8            # of a block
    BITS = 7             # of a certificate, 9 bits of hash each
    SAMPLE = 512         # blocks that are looked at to see how full it is

cdef uint64_t MAGIC = 0x3164657573734973  # sIssued1


cdef inline uint64_t* block_of(const uint8_t* start, uint64_t blocks, const Hash* hash_) noexcept nogil:
    return <uint64_t*> (start + HEADER + ((hash_.low >> 32) * blocks >> 32) * BLOCK)


@cython.final
cdef class Issued:
    def __cinit__(self, memory not None, /):
        cdef uint8_t[::1] octets = memory
        if <size_t> len(octets) < HEADER + BLOCK or (<uint64_t*> &octets[0])[0] != MAGIC:
            raise ValueError("this memory holds no filter; see Issued.lay_out")
        self.memory, self.start = memory, &octets[0]
        self.blocks = min((<IssuedHeader*> self.start).blocks, <uint64_t> (len(octets) - HEADER) // BLOCK)

    @staticmethod
    def lay_out(memory not None, bytes key not None, /):
        cdef uint8_t[::1] octets = memory
        cdef IssuedHeader* header
        if <size_t> len(octets) < HEADER + BLOCK or len(key) != 8 * KEY_WORDS:
            raise ValueError(f"{len(octets)} octets and a key of {len(key)} can't hold a filter")
        header = <IssuedHeader*> &octets[0]
        memcpy(header.key, <const uint8_t*> key, 8 * KEY_WORDS)
        header.blocks = min((len(octets) - HEADER) // BLOCK, 0xFFFFFFFF)
        header.magic = MAGIC

    def add(self, object names, /):
        cdef bytes name
        cdef Hash hash_
        cdef uint64_t* block
        cdef uint64_t bits
        cdef int index
        for name in names:
            if len(name) <= ISSUER_TAG:
                raise ValueError(f"{name!r} isn't an issuer's tag and a serial")
            hash_ = hash_of(
                (<IssuedHeader*> self.start).key,
                name,
                <const uint8_t*> name + ISSUER_TAG,
                len(name) - ISSUER_TAG,
            )
            block, bits = block_of(self.start, self.blocks, &hash_), hash_.high
            for index in range(BITS):
                atomics.store(&block[bits >> 6 & 7], block[bits >> 6 & 7] | <uint64_t> 1 << (bits & 63))
                bits >>= 9

    def has(self, bytes tag not None, bytes serial not None, /):
        cdef Span octets = span(serial)
        if len(tag) != ISSUER_TAG:
            raise ValueError(f"{tag!r} isn't an issuer's tag")
        return self.may_have(tag, &octets)

    @property
    def false_positives(self):
        cdef uint64_t step = max(self.blocks // SAMPLE, <uint64_t> 1)
        cdef uint64_t index = 0
        cdef uint64_t* block
        cdef double sum_ = 0
        cdef int word, ones
        cdef int looked = 0
        while index < self.blocks:
            block, ones = <uint64_t*> (self.start + HEADER + index * BLOCK), 0
            for word in range(WORDS):
                ones += popcount(block[word])
            sum_ += (<double> ones / (BLOCK * 8)) ** BITS
            looked += 1
            index += step
        return sum_ / looked

    cdef bint may_have(self, const uint8_t* tag, const Span* serial) noexcept nogil:
        cdef Hash hash_ = hash_of((<IssuedHeader*> self.start).key, tag, serial.data, serial.size)
        cdef const uint64_t* block = block_of(self.start, self.blocks, &hash_)
        cdef uint64_t bits = hash_.high
        cdef int index
        for index in range(BITS):
            if not block[bits >> 6 & 7] >> (bits & 63) & 1:
                return False
            bits >>= 9
        return True
