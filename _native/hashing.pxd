"""A keyed hash of certificates for tables, not for secrets: whoever doesn't know the key can't choose two that collide.

NH, the universal hash of UMAC (RFC 4418 §5.2) over words of 64 bits: of messages of one length any two collide with a
probability of 2^-64, as their lengths are hashed with them (beyond 64 octets, which no serial should have, the key is
used again). Then mixed, so that every bit of the halves serves.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    ISSUER_TAG = 8
    KEY_WORDS = 12       # for the tag, the length, eight words of the serial; two to mix with

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    typedef struct { uint64_t low, high; } cs_hash;
    static inline cs_hash cs_hash_of(const uint64_t *key, const uint8_t *tag, const uint8_t *serial, size_t size)
    {
        uint64_t first, a, b;
        memcpy(&first, tag, 8);
        unsigned __int128 sum = (unsigned __int128) (first + key[0]) * ((uint64_t) size + key[1]);
        const uint64_t *k = key + 2;
        while (size >= 16) {
            memcpy(&a, serial, 8), memcpy(&b, serial + 8, 8);
            sum += (unsigned __int128) (a + k[0]) * (b + k[1]);
            serial += 16, size -= 16, k = k == key + 8 ? key + 2 : k + 2;
        }
        if (size) {
            uint8_t rest[16] = {0};
            memcpy(rest, serial, size);
            memcpy(&a, rest, 8), memcpy(&b, rest + 8, 8);
            sum += (unsigned __int128) (a + k[0]) * (b + k[1]);
        }
        uint64_t folded = (uint64_t) sum ^ (uint64_t) (sum >> 64);
        unsigned __int128 mixed = (unsigned __int128) (folded ^ key[10]) * (key[11] | 1);
        folded = (uint64_t) mixed ^ (uint64_t) (mixed >> 64);
        mixed = (unsigned __int128) folded * 0x9E3779B97F4A7C15ull;
        cs_hash h = {folded, (uint64_t) mixed ^ (uint64_t) (mixed >> 64)};
        return h;
    }
    """
    ctypedef struct Hash "cs_hash":
        uint64_t low
        uint64_t high
    # Of an issuer's tag and a serial, under KEY_WORDS words of key.
    Hash hash_of "cs_hash_of"(const uint64_t* key, const uint8_t* tag, const uint8_t* serial, size_t size)
