"""Floors: for each status that changed lately, the lowest version that may still be answered (design §4.3).

The memory is a header and then places of 32 octets, found by hash and linear probing over at most WINDOW of them. A
change that finds no place raises the floor of its issuer instead, which is a moment: nothing of the issuer that was read
from the database before it may be answered.

One process writes, the keeper of the host. What it leaves half-written when it is killed counts as a floor that nothing
reaches, until it has started again and raised it anew.
"""

cimport cython
from libc.string cimport memcpy, memset

from responder._native cimport atomics
from responder._native.der cimport span
from responder._native.hashing cimport ISSUER_TAG, hash_of

cdef enum:
    HEADER = 4096
    WINDOW = 64
    ATTEMPTS = 64
    FREE = 1
    FIRST_HASH = 2

cdef uint64_t MAGIC = 0x31726F6F6C467363  # csFloor1


cdef inline Floor* places_of(const uint8_t* floors) noexcept nogil:
    return <Floor*> (floors + HEADER)


cdef inline uint64_t identity(const FloorsHeader* header, const uint8_t* tag, const Span* serial) noexcept nogil:
    cdef uint64_t low = hash_of(header.key, tag, serial.data, serial.size).low
    return low if low >= FIRST_HASH else low + FIRST_HASH


cdef inline uint64_t place_of(const FloorsHeader* header, uint64_t hash_, int step) noexcept nogil:
    return ((hash_ >> 32) * header.places >> 32) + step


cdef bint read_floor(const uint8_t* floors, uint64_t hash_, uint32_t* epoch, uint64_t* number, bint* unsure) noexcept nogil:
    """Whether there is one; `unsure` when it can't be read."""
    cdef const FloorsHeader* header = <const FloorsHeader*> floors
    cdef const Floor* floor
    cdef uint64_t place, found
    cdef uint32_t before
    cdef int step, attempt
    for step in range(WINDOW):
        place = place_of(header, hash_, step)
        if place >= header.places:
            place -= header.places
        floor = &places_of(floors)[place]
        found = atomics.load(&floor.hash)
        if found == 0:
            return False
        if found != hash_:
            continue
        for attempt in range(ATTEMPTS):
            before = atomics.load32(&floor.sequence)
            if before & 1:
                continue
            epoch[0], number[0] = floor.epoch, floor.number
            found = floor.hash
            atomics.acquire()
            if atomics.load32(&floor.sequence) == before:
                break
        else:
            unsure[0] = True
            return True
        if found == hash_:
            return True
        # It was given to another meanwhile; ours would have been raised anew elsewhere, before it.
    return False


cdef bint is_below(
    const uint8_t* floors, const uint8_t* tag, const Span* serial, uint32_t epoch, uint64_t number, int64_t as_of
) noexcept nogil:
    cdef const FloorsHeader* header = <const FloorsHeader*> floors
    cdef uint32_t floor_epoch
    cdef uint64_t floor_number
    cdef bint unsure = False
    cdef Span nothing
    if as_of < <int64_t> atomics.load(&header.as_of):
        return True
    if read_floor(floors, identity(header, tag, serial), &floor_epoch, &floor_number, &unsure):
        if unsure or epoch < floor_epoch or (epoch == floor_epoch and number < floor_number):
            return True
    if atomics.load(&header.issuers):
        nothing.data, nothing.size = tag, 0
        if read_floor(floors, identity(header, tag, &nothing), &floor_epoch, &floor_number, &unsure):
            return unsure or as_of < <int64_t> floor_number
    return False


@cython.final
cdef class Floors:
    def __cinit__(self, memory not None, /):
        cdef uint8_t[::1] octets = memory
        if <size_t> len(octets) < HEADER + WINDOW * sizeof(Floor) or (<uint64_t*> &octets[0])[0] != MAGIC:
            raise ValueError("this memory holds no floors; see Floors.lay_out")
        self.memory = memory
        self.start = &octets[0]

    @staticmethod
    def lay_out(memory not None, bytes key not None, /):
        cdef uint8_t[::1] octets = memory
        cdef FloorsHeader* header
        if <size_t> len(octets) < HEADER + WINDOW * sizeof(Floor) or len(key) != 8 * KEY_WORDS:
            raise ValueError(f"{len(octets)} octets and a key of {len(key)} can't hold floors")
        memset(&octets[0], 0, len(octets))
        header = <FloorsHeader*> &octets[0]
        memcpy(header.key, <const uint8_t*> key, 8 * KEY_WORDS)
        header.places = min((len(octets) - HEADER) // sizeof(Floor), 0xFFFFFFFF)
        header.magic = MAGIC

    def raise_to(
        self, bytes tag not None, bytes serial not None, uint32_t epoch, uint64_t number, int64_t until,
        int64_t now, int64_t as_of, /,
    ):
        cdef Span octets = span(serial)
        _check(tag)
        if not octets.size:
            raise ValueError("a serial has at least one octet")
        if self.write(tag, &octets, epoch, number, until, now):
            return True
        self.raise_issuer(tag, as_of, until, now)
        return False

    def raise_issuer(self, bytes tag not None, int64_t as_of, int64_t until, int64_t now, /):
        cdef FloorsHeader* header = <FloorsHeader*> self.start
        cdef Span nothing
        _check(tag)
        nothing.data, nothing.size = tag, 0
        # Readers look for issuers' floors from here on.
        atomics.store(&header.issuers, header.issuers + 1)
        if not self.write(tag, &nothing, 0, <uint64_t> as_of, until, now):
            self.raise_all(as_of)

    def raise_all(self, int64_t as_of, /):
        cdef FloorsHeader* header = <FloorsHeader*> self.start
        if as_of > <int64_t> header.as_of:
            atomics.store(&header.as_of, <uint64_t> as_of)

    def is_below(
        self, bytes tag not None, bytes serial not None, uint32_t epoch, uint64_t number, int64_t as_of, /
    ):
        cdef Span octets = span(serial)
        _check(tag)
        return is_below(self.start, tag, &octets, epoch, number, as_of)

    def settle(self):
        cdef FloorsHeader* header = <FloorsHeader*> self.start
        cdef Floor* floor
        cdef uint64_t place
        cdef int settled = 0
        for place in range(header.places):
            floor = &places_of(self.start)[place]
            if floor.sequence & 1:
                atomics.store(&floor.hash, FREE)
                atomics.store32(&floor.sequence, floor.sequence + 1)
                settled += 1
        return settled

    @property
    def taken(self):
        return (<FloorsHeader*> self.start).taken

    @property
    def places(self):
        return (<FloorsHeader*> self.start).places

    cdef bint write(
        self, const uint8_t* tag, const Span* serial, uint32_t epoch, uint64_t number, int64_t until, int64_t now
    ) noexcept nogil:
        """Raise a floor, or give it a place; False when its window is full."""
        cdef FloorsHeader* header = <FloorsHeader*> self.start
        cdef uint64_t hash_ = identity(header, tag, serial)
        cdef uint64_t place
        cdef Floor* floor
        cdef Floor* free = NULL
        cdef int step
        for step in range(WINDOW):
            place = place_of(header, hash_, step)
            if place >= header.places:
                place -= header.places
            floor = &places_of(self.start)[place]
            if floor.hash == hash_:
                self.overwrite(floor, hash_, epoch, number, until)
                return True
            if free == NULL and (floor.hash <= FREE or (floor.until <= now and not floor.sequence & 1)):
                free = floor
            if floor.hash == 0:
                break
        if free == NULL:
            return False
        if free.hash == 0:
            header.taken += 1
        self.overwrite(free, hash_, epoch, number, until)
        return True

    cdef void overwrite(
        self, Floor* floor, uint64_t hash_, uint32_t epoch, uint64_t number, int64_t until
    ) noexcept nogil:
        cdef bint is_its_own = floor.hash == hash_
        if is_its_own and not floor.sequence & 1:
            until = max(until, floor.until)
            if epoch < floor.epoch or (epoch == floor.epoch and number <= floor.number):
                floor.until = until
                return
        # Half-written by one that was killed: what it held is lost, and what it was raised to comes again.
        atomics.store32(&floor.sequence, floor.sequence | 1)
        atomics.release()
        floor.epoch, floor.number, floor.until = epoch, number, until
        atomics.store(&floor.hash, hash_)
        atomics.store32(&floor.sequence, floor.sequence + 1)


cdef int _check(bytes tag) except -1:
    if len(tag) != ISSUER_TAG:
        raise ValueError(f"an issuer's tag has {ISSUER_TAG} octets, not {len(tag)}")
    return 0
