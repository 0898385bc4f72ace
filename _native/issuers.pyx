"""The issuers that are answered for, as CertIDs name them: found by name and key hash together."""

cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from responder._native.record_format cimport index_of


@cython.final
cdef class IssuerIndex:
    def __cinit__(self, object issuers, /):
        cdef uint64_t size = 16
        cdef uint64_t index
        cdef const IssuerPlace* place
        cdef bytes packed
        cdef size_t number
        self.held = list(issuers)
        while size < <uint64_t> (8 * len(self.held)):
            size *= 2
        self.places, self.mask = <const IssuerPlace**> calloc(size, sizeof(void*)), size - 1
        if self.places == NULL:
            raise MemoryError
        for packed in self.held:
            place = <const IssuerPlace*> <const uint8_t*> packed
            for number in range(len(packed) // sizeof(IssuerPlace)):
                index = _place_of(place[number].name_hash, place[number].key_hash)
                while self.places[index & self.mask] != NULL:
                    index += 1
                self.places[index & self.mask] = &place[number]

    def __dealloc__(self):
        free(self.places)

    cdef const IssuerPlace* find(self, const CertIDView* asked) noexcept nogil:
        cdef int algorithm = asked.variant & 15
        cdef uint64_t index
        cdef const IssuerPlace* place
        if algorithm == 0:
            return NULL
        index = _place_of(asked.issuer_name_hash, asked.issuer_key_hash)
        while True:
            place = self.places[index & self.mask]
            if place == NULL:
                return NULL
            if (
                place.algorithm == algorithm
                and memcmp(place.key_hash, asked.issuer_key_hash, asked.key_size) == 0
                and memcmp(place.name_hash, asked.issuer_name_hash, asked.name_size) == 0
            ):
                return place
            index += 1


cdef inline uint64_t _place_of(const uint8_t* name_hash, const uint8_t* key_hash) noexcept nogil:
    """Where the search for an issuer begins: many names may have one key."""
    cdef uint64_t name, key
    memcpy(&name, name_hash, 8)
    memcpy(&key, key_hash, 8)
    return name ^ key


cdef int _copy(uint8_t* where, bytes octets, size_t room) except -1:
    if <size_t> len(octets) > room:
        raise ValueError(f"{len(octets)} octets where {room} are the most")
    memcpy(where, <const uint8_t*> octets, len(octets))
    return 0


def pack_issuer(object row, /):
    cdef IssuerPlace[4] places
    cdef IssuerPlace* place
    cdef int count = 0
    memset(places, 0, sizeof(places))
    if len(row.cert_id_hashes) > 4:
        raise ValueError(f"{len(row.cert_id_hashes)} pairs of hashes, not one for each of four algorithms")
    for name_hash, key_hash in row.cert_id_hashes:
        place = &places[count]
        if len(name_hash) < 8 or len(key_hash) < 8:
            raise ValueError(f"{name_hash!r} and {key_hash!r} are too short for hashes")
        _copy(place.tag, row.tag, 8)
        _copy(place.name_hash, name_hash, MAX_HASH)
        _copy(place.key_hash, key_hash, MAX_HASH)
        for variant in row.variants:
            if index_of(variant) < 0:
                raise ValueError(f"variant {variant} isn't one of ours")
            place.variants |= 1 << index_of(variant)
        place.ignores_nonce, place.honours_preferences = row.ignores_nonce, row.honours_preferences
        place.is_for_the_chain, place.refuses_unknown = row.is_for_the_chain, row.refuses_unknown
        place.refresh, place.max_age = row.refresh, row.max_age
        count += 1
        place.algorithm = count
    return <bytes> (<const uint8_t*> places)[:count * sizeof(IssuerPlace)]
