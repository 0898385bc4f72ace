"""One set of the table: entries of any length, one after the other without gaps. Readers copy, and see by its sequence
number whether what they copied was whole; who writes owns the set.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from responder._native cimport atomics
from responder._native.der cimport Span
from responder._native.hashing cimport ISSUER_TAG, Hash
from responder._native.ranking cimport next_update_of

cdef enum:
    SET = 4096
    UNIT = 16            # what room is counted in
    UNITS = SET // UNIT
    FIRST_UNIT = 9       # after the head
    WAYS = 24
    MAX_TABLE_SERIAL = 64
    ENTRY = 12           # octets before the serial
    MAX_RECORD = SET - FIRST_UNIT * UNIT - ENTRY - 1
    READS = 8            # of a set that is being written, before it is a miss
    SPINS = 2000         # for a set that another owns; then the others' turn, TURNS times
    TURNS = 200

# Who writes in a set owns it: a lock for each entry wouldn't do, since a put that passed the floors and hasn't chosen its
# place yet could bring back what a drop has just looked for in vain.
ctypedef struct Set:
    uint64_t sequence            # odd while it is written
    uint32_t owner               # whose it is, 0 for nobody's
    uint8_t count                # of entries
    uint8_t hand                 # where the search for an entry to give up goes on
    uint16_t end                 # the first unit that is free: entries stand without gaps
    uint16_t[WAYS] prints        # of each entry's hash, 0 where a way is empty
    uint8_t[WAYS] first          # unit
    uint8_t[WAYS] units
    uint8_t[WAYS] used           # since the hand came by

ctypedef struct Entry:
    uint8_t[8] tag
    uint16_t size                # of the record
    uint8_t serial_size
    uint8_t unused
    # serial and record follow


cdef inline uint16_t print_of(const Hash* hash_) noexcept nogil:
    cdef uint16_t bits = <uint16_t> (hash_.low & 0xFFFF)
    return bits if bits else 1


cdef inline Entry* entry_at(Set* where, int unit) noexcept nogil:
    return <Entry*> (<uint8_t*> where + unit * UNIT)


cdef inline bint is_of(const Entry* entry, const uint8_t* tag, const Span* serial) noexcept nogil:
    return (
        entry.serial_size == serial.size
        and memcmp(entry.tag, tag, ISSUER_TAG) == 0
        and memcmp(<const uint8_t*> entry + ENTRY, serial.data, serial.size) == 0
    )


cdef inline uint8_t* record_in(Entry* entry) noexcept nogil:
    return <uint8_t*> entry + ENTRY + entry.serial_size


cdef inline size_t find_in(Set* where, uint16_t wanted, const uint8_t* tag, const Span* serial, uint8_t* record) noexcept nogil:
    cdef uint64_t before
    cdef Entry* entry
    cdef size_t size, found
    cdef int way, unit, units, attempt
    for attempt in range(READS):
        before = atomics.load(&where.sequence)
        if before & 1:
            continue
        found = 0
        for way in range(WAYS):
            if where.prints[way] != wanted:
                continue
            unit, units = where.first[way], where.units[way]
            if unit < FIRST_UNIT or unit + units > UNITS or <size_t> (units * UNIT) < ENTRY + serial.size:
                continue                # torn, or not it
            entry = entry_at(where, unit)
            size = entry.size
            if not is_of(entry, tag, serial) or size > <size_t> (units * UNIT) - ENTRY - serial.size:
                continue
            memcpy(record, <uint8_t*> entry + ENTRY + serial.size, size)
            found = size
            break
        atomics.acquire()
        if atomics.load(&where.sequence) == before:
            if found and where.used[way] == 0:
                where.used[way] = 1
            return found
    return 0


# --- writing: who calls owns the set

cdef inline bint own(Set* where, uint32_t me) noexcept nogil:
    """Wait for a set, a while."""
    cdef int turn, spin
    for turn in range(TURNS):
        for spin in range(SPINS):
            if atomics.take(&where.owner, me):
                return True
        atomics.sched_yield()
    return False


cdef inline bint own_both(Set** pair, uint32_t me) noexcept nogil:
    """Both sets, in the order of their addresses, so that nobody waits in a circle."""
    cdef Set* first = min(pair[0], pair[1])
    cdef Set* second = max(pair[0], pair[1])
    if not own(first, me):
        return False
    if second != first and not own(second, me):
        atomics.store32(&first.owner, 0)
        return False
    return True


cdef inline void disown(Set** pair) noexcept nogil:
    atomics.store32(&pair[0].owner, 0)
    if pair[1] != pair[0]:
        atomics.store32(&pair[1].owner, 0)


cdef inline void begin(Set* where) noexcept nogil:
    atomics.store(&where.sequence, where.sequence | 1)
    atomics.release()


cdef inline void finish(Set* where) noexcept nogil:
    atomics.store(&where.sequence, where.sequence + 1)


cdef inline int way_of(Set* where, uint16_t wanted, const uint8_t* tag, const Span* serial) noexcept nogil:
    cdef int way
    for way in range(WAYS):
        if where.prints[way] == wanted and is_of(entry_at(where, where.first[way]), tag, serial):
            return way
    return -1


cdef inline void remove(Set* where, int way) noexcept nogil:
    """Take an entry out and close the gap; between `begin` and `finish`."""
    cdef int first = where.first[way]
    cdef int units = where.units[way]
    cdef int other
    memmove(entry_at(where, first), entry_at(where, first + units), (where.end - first - units) * UNIT)
    for other in range(WAYS):
        if where.prints[other] and where.first[other] > first:
            where.first[other] -= <uint8_t> units
    where.prints[way] = where.first[way] = where.units[way] = where.used[way] = 0
    where.end -= <uint16_t> units
    where.count -= 1


cdef inline void give_up_one(Set* where, int64_t now) noexcept nogil:
    """Make room: what has ended, else what nobody has used since the hand came by."""
    cdef int way, step
    for way in range(WAYS):
        if where.prints[way] and next_update_of(record_in(entry_at(where, where.first[way]))) * 1000000 <= now:
            remove(where, way)
            return
    for step in range(2 * WAYS + 1):
        way = where.hand % WAYS
        where.hand = <uint8_t> ((way + 1) % WAYS)
        if where.prints[way] == 0:
            continue
        if where.used[way] == 0:
            break
        where.used[way] = 0
    remove(where, way)


cdef inline void add(
    Set* where, uint16_t print_, int units, const uint8_t* tag, const Span* serial, const Span* record, int64_t now
) noexcept nogil:
    cdef Entry* entry
    cdef int way
    begin(where)
    if where.end == 0:
        where.end = FIRST_UNIT  # memory of zeros is an empty table
    while where.count == WAYS or where.end + units > UNITS:
        give_up_one(where, now)
    for way in range(WAYS):
        if where.prints[way] == 0:
            break
    entry = entry_at(where, where.end)
    memcpy(entry.tag, tag, ISSUER_TAG)
    entry.size, entry.serial_size, entry.unused = <uint16_t> record.size, <uint8_t> serial.size, 0
    memcpy(<uint8_t*> entry + ENTRY, serial.data, serial.size)
    memcpy(record_in(entry), record.data, record.size)
    where.first[way], where.units[way], where.used[way] = <uint8_t> where.end, <uint8_t> units, 0
    where.prints[way] = print_
    where.end += <uint16_t> units
    where.count += 1
    finish(where)


cdef inline int units_left(const Set* where) noexcept nogil:
    return UNITS - max(<int> where.end, <int> FIRST_UNIT)


cdef inline int room_left(const Set* where) noexcept nogil:
    """In units; none where all ways are taken."""
    return 0 if where.count == WAYS else units_left(where)


cdef inline void clear(Set* where) noexcept nogil:
    """Empty what was left half-written: it is only a cache."""
    where.count, where.hand, where.end = 0, 0, FIRST_UNIT
    memset(where.prints, 0, sizeof(where.prints))
    memset(where.used, 0, sizeof(where.used))
    finish(where)
