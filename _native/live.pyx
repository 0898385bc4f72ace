"""The keys that sign for one request, in the lane or in a thread beside it.

The status is that of a record which may be answered at this moment: its host's lease lasts, and it isn't below a floor. So a
nonce needs no database, and says what an answer without one would say.
"""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from responder._native.algorithms cimport close_signing, open_signing, sign_octets
from responder._native.keys cimport PrivateKey
from responder._native.profile cimport SigningProfile
from responder._native.record_format cimport PROFILE_ID
from responder._native.sockets cimport CLOCK_MONOTONIC, cs_time


@cython.final
cdef class LiveKeys:
    def __cinit__(self, object signers=(), /, *, object bounds=()):
        cdef SigningProfile profile
        cdef PrivateKey key
        cdef LiveKey* place
        cdef uint64_t size = 16
        cdef uint64_t index
        cdef int number
        self.held = list(signers)
        while size < <uint64_t> (2 * len(self.held)):
            size *= 2
        self.keys, self.mask = <LiveKey*> calloc(size, sizeof(LiveKey)), size - 1
        if self.keys == NULL:
            raise MemoryError
        if self.held and len(bounds) != SIGN_BOUNDS:
            raise ValueError(f"{len(bounds)} bounds of seconds, not {SIGN_BOUNDS}")
        for number, bound in enumerate(bounds):
            self.bounds[number] = <int64_t> (bound * 1e9)
        for profile, key, signatures, seconds, is_slow in self.held:
            memcpy(&index, profile.constants.id, 8)
            while self.keys[index & self.mask].profile_id != NULL:
                index += 1
            place = &self.keys[index & self.mask]
            place.key, place.algorithm = key._key, key.find(&profile.constants.signature_algorithm)
            if place.algorithm == NULL:
                raise ValueError(f"a key of {key.name} doesn't sign with the algorithm that its profile names")
            place.profile_id, place.signatures, place.seconds = profile.constants.id, signatures, seconds
            place.is_slow = is_slow

    def __dealloc__(self):
        cdef uint64_t index
        if self.keys != NULL:
            for index in range(self.mask + 1):
                if self.keys[index].context.algorithm != NULL:
                    close_signing(&self.keys[index].context)
        free(self.keys)

    cdef LiveKey* find(self, const unsigned char* profile_id) noexcept nogil:
        cdef uint64_t index
        cdef LiveKey* place
        memcpy(&index, profile_id, 8)
        while True:
            place = &self.keys[index & self.mask]
            if place.profile_id == NULL:
                return NULL
            if memcmp(place.profile_id, profile_id, PROFILE_ID) == 0:
                return place
            index += 1

    cdef bint sign(
        self, LiveKey* key, const uint8_t* data, size_t size, uint8_t* signature, size_t* signature_size, uint64_t* counters
    ) noexcept nogil:
        cdef int64_t begun = cs_time(CLOCK_MONOTONIC)
        if key.context.algorithm == NULL and not open_signing(&key.context, key.key, key.algorithm):
            close_signing(&key.context)
            key.context.algorithm = NULL
            return False
        if not sign_octets(&key.context, data, size, signature, signature_size):
            return False
        self.count(key.signatures, key.seconds, cs_time(CLOCK_MONOTONIC) - begun, counters)
        return True

    cdef void count(self, uint16_t signatures, uint16_t seconds, int64_t taken, uint64_t* counters) noexcept nogil:
        cdef int bucket = 0
        while bucket < SIGN_BOUNDS and taken > self.bounds[bucket]:
            bucket += 1
        counters[signatures] += 1
        counters[seconds + bucket] += 1
        counters[seconds + SIGN_BOUNDS + 1] += <uint64_t> taken
