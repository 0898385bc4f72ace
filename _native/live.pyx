"""Answers that are signed in the lane.

The status is that of a record which may be answered at this moment: its host's lease lasts, and it isn't below a floor. So a
nonce needs no database, and says what an answer without one would say.
"""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from responder._native cimport der
from responder._native.algorithms cimport MAX_SIGNATURE, close_signing, open_signing, sign_octets
from responder._native.keys cimport PrivateKey
from responder._native.profile cimport SigningProfile
from responder._native.records cimport PROFILE_ID
from responder._native.render cimport put_response, put_response_data, put_signature
from responder._native.sockets cimport CLOCK_MONOTONIC, cs_time

cdef enum:
    MAX_SIGNED = 8192        # of ResponseData


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
        for profile, key, signatures, seconds in self.held:
            memcpy(&index, profile.constants.id, 8)
            while self.keys[index & self.mask].profile_id != NULL:
                index += 1
            place = &self.keys[index & self.mask]
            place.key, place.algorithm = key._key, key.find(&profile.constants.signature_algorithm)
            if place.algorithm == NULL:
                raise ValueError(f"a key of {key.name} doesn't sign with the algorithm that its profile names")
            place.profile_id, place.signatures, place.seconds = profile.constants.id, signatures, seconds

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

    cdef bint put_answer(
        self,
        LiveKey* key,
        const Constants* profile,
        const Single* singles,
        int count,
        const Span* nonce,
        int64_t produced_at,
        uint64_t* counters,
        Out* out,
    ) noexcept nogil:
        cdef unsigned char[MAX_SIGNED] room
        cdef unsigned char[MAX_SIGNATURE] signature
        cdef Out data = der.writer(room, MAX_SIGNED)
        cdef const unsigned char* end = out.position
        cdef size_t size, signature_size
        cdef int64_t taken
        cdef int bucket = 0
        put_response_data(&data, profile, singles, count, produced_at, nonce if nonce.size else NULL)
        size = der.written(&data, room + MAX_SIGNED)
        if data.full:
            return False
        taken = cs_time(CLOCK_MONOTONIC)
        if key.context.algorithm == NULL and not open_signing(&key.context, key.key, key.algorithm):
            close_signing(&key.context)
            key.context.algorithm = NULL
            return False
        if not sign_octets(&key.context, data.position, size, signature, &signature_size):
            return False
        taken = cs_time(CLOCK_MONOTONIC) - taken
        put_signature(out, profile, signature, signature_size, False)
        der.put(out, data.position, size)
        put_response(out, end)
        if out.full:
            return False
        while bucket < SIGN_BOUNDS and taken > self.bounds[bucket]:
            bucket += 1
        counters[key.signatures] += 1
        counters[key.seconds + bucket] += 1
        counters[key.seconds + SIGN_BOUNDS + 1] += <uint64_t> taken
        return True
