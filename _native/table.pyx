"""The table: what a host has of records, found in a microsecond by every process (design §3).

The memory is a header and then sets of 4,096 octets. A certificate may stand in either of two sets, by its keyed hash; a
put takes the emptier one, so a table can be filled to nine tenths before much is given up. In a set entries of any length
stand one after the other without gaps: P-256 and RSA share the memory as they come.

Readers never wait: a sequence number for each set, odd while it is written, tells a torn copy, which is a miss. Writers own
a set while they write in it; one that is killed leaves it owned until `sweep`.
"""

cimport cython
from libc.string cimport memcmp, memcpy, memmove, memset

from responder._native cimport atomics
from responder._native.algorithms cimport Digester, sha256_of_two
from responder._native.der cimport span
from responder._native.floors cimport is_below
from responder._native.hashing cimport ISSUER_TAG, Hash, hash_of
from responder._native.records cimport (
    CERTIFICATE_TAG, RecordView, Records, outranks, parse_record, read_records, stored_next_update,
)

from responder.errors import SigningFailed

cdef Digester _digester = Digester()

cdef enum:
    HEADER = 4096
    ENTRY = 12           # octets before the serial
    READS = 8            # of a set that is being written, before it is a miss
    SPINS = 2000         # for a set that another owns; then the others' turn, TURNS times
    TURNS = 200

cdef uint64_t MAGIC = 0x31656C6261546373  # csTable1


cdef inline Set* set_at(const uint8_t* table, uint64_t index) noexcept nogil:
    return <Set*> (table + HEADER + index * SET)


cdef inline uint16_t print_of(const Hash* hash_) noexcept nogil:
    cdef uint16_t bits = <uint16_t> (hash_.low & 0xFFFF)
    return bits if bits else 1


cdef inline void sets_of(const uint8_t* table, const Hash* hash_, Set** pair) noexcept nogil:
    """The two sets where it may stand; they may be one."""
    cdef uint64_t sets = (<const TableHeader*> table).sets
    pair[0] = set_at(table, (hash_.low >> 32) * sets >> 32)
    pair[1] = set_at(table, (hash_.high >> 32) * sets >> 32)


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


cdef size_t find_in(Set* where, uint16_t wanted, const uint8_t* tag, const Span* serial, uint8_t* record) noexcept nogil:
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


cdef size_t find(const uint8_t* table, const uint8_t* tag, const Span* serial, uint8_t* record) noexcept nogil:
    cdef Hash hash_
    cdef (Set*)[2] pair
    cdef size_t size
    if serial.size > MAX_TABLE_SERIAL:
        return 0
    hash_ = hash_of((<const TableHeader*> table).key, tag, serial.data, serial.size)
    sets_of(table, &hash_, pair)
    atomics.prefetch(pair[1])
    size = find_in(pair[0], print_of(&hash_), tag, serial, record)
    if size == 0:
        size = find_in(pair[1], print_of(&hash_), tag, serial, record)
    return size


# --- writing: the sets are owned by who calls

cdef bint own(Set* where, uint32_t me) noexcept nogil:
    """Wait for a set, a while."""
    cdef int turn, spin
    for turn in range(TURNS):
        for spin in range(SPINS):
            if atomics.take(&where.owner, me):
                return True
        atomics.sched_yield()
    return False


cdef bint own_both(Set** pair, uint32_t me) noexcept nogil:
    """Both sets, in the order of their addresses, so that nobody waits in a circle."""
    cdef Set* first = min(pair[0], pair[1])
    cdef Set* second = max(pair[0], pair[1])
    if not own(first, me):
        return False
    if second != first and not own(second, me):
        atomics.store32(&first.owner, 0)
        return False
    return True


cdef void disown(Set** pair) noexcept nogil:
    atomics.store32(&pair[0].owner, 0)
    if pair[1] != pair[0]:
        atomics.store32(&pair[1].owner, 0)


cdef inline void begin(Set* where) noexcept nogil:
    atomics.store(&where.sequence, where.sequence | 1)
    atomics.release()


cdef inline void finish(Set* where) noexcept nogil:
    atomics.store(&where.sequence, where.sequence + 1)


cdef int way_of(Set* where, uint16_t wanted, const uint8_t* tag, const Span* serial) noexcept nogil:
    cdef int way
    for way in range(WAYS):
        if where.prints[way] == wanted and is_of(entry_at(where, where.first[way]), tag, serial):
            return way
    return -1


cdef void remove(Set* where, int way) noexcept nogil:
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


cdef void give_up_one(Set* where, int64_t now) noexcept nogil:
    """Make room: what has ended, else what nobody has used since the hand came by."""
    cdef int way, step
    for way in range(WAYS):
        if where.prints[way] and stored_next_update(record_in(entry_at(where, where.first[way]))) * 1000000 <= now:
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


cdef void add(
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


cdef inline int room_left(const Set* where) noexcept nogil:
    """In units; none where all ways are taken."""
    return 0 if where.count == WAYS else UNITS - max(<int> where.end, <int> FIRST_UNIT)


@cython.final
cdef class Table:
    def __cinit__(self, memory not None, Floors floors not None, /, *, owner):
        cdef uint8_t[::1] octets = memory
        if <size_t> len(octets) < HEADER + SET or (<uint64_t*> &octets[0])[0] != MAGIC:
            raise ValueError("this memory holds no table; see Table.lay_out")
        if not 1 <= owner < 1 << 32:
            raise ValueError(f"owner {owner} isn't between 1 and 2^32 - 1")
        self.memory, self.floors, self.owner = memory, floors, owner
        self.start = &octets[0]

    @staticmethod
    def lay_out(memory not None, bytes key not None, /):
        cdef uint8_t[::1] octets = memory
        cdef TableHeader* header
        if <size_t> len(octets) < HEADER + SET or len(key) != 8 * KEY_WORDS:
            raise ValueError(f"{len(octets)} octets and a key of {len(key)} can't hold a table")
        header = <TableHeader*> &octets[0]
        memcpy(header.key, <const uint8_t*> key, 8 * KEY_WORDS)
        header.sets = min((len(octets) - HEADER) // SET, 0xFFFFFFFF)
        header.magic = MAGIC

    def get(self, bytes tag not None, bytes serial not None, /):
        cdef uint8_t[MAX_RECORD] record
        cdef Span octets = span(serial)
        cdef size_t size
        _check(tag)
        size = find(self.start, tag, &octets, record)
        return read_records(<bytes> record[:size]) if size else None

    def put(self, bytes tag not None, bytes serial not None, Records records not None, int64_t now, /):
        cdef uint8_t[MAX_RECORD] room
        cdef const uint8_t* issuer_tag = tag
        cdef Span octets = span(serial)
        cdef Span record = span(records.encoded)
        cdef Span other
        cdef Put outcome
        _check(tag)
        other.data, other.size = room, 0
        with nogil:
            outcome = self.put_span(issuer_tag, &octets, &record, now, &other)
        if outcome == KEPT:
            return records
        if outcome == KEPT_OTHER:
            return read_records(<bytes> room[:other.size])
        return None

    def fill(self, object keys, object values, int64_t now, /):
        cdef Span serial, record
        cdef bytes key, value
        cdef int kept = 0
        cdef RecordView view
        cdef Span tag
        cdef uint8_t[32] digest
        for key, value in zip(keys, values, strict=True):
            if value is None or len(key) <= ISSUER_TAG:
                continue
            serial.data, serial.size = <const uint8_t*> key + ISSUER_TAG, len(key) - ISSUER_TAG
            record = span(value)
            if parse_record(record.data, record.size, &view) != NULL or view.count == 0:
                continue
            tag.data, tag.size = key, ISSUER_TAG
            if not sha256_of_two(_digester.context, &tag, &serial, digest):
                raise SigningFailed("libcrypto makes no digest")
            if memcmp(view.certificate_tag, digest, CERTIFICATE_TAG) != 0:
                continue
            if view.next_update * 1000000 <= now:
                continue
            kept += self.put_span(key, &serial, &record, now, NULL) == KEPT
        return kept

    def drop(self, bytes tag not None, bytes serial not None, /):
        cdef Span octets = span(serial)
        cdef bint done
        cdef const uint8_t* issuer_tag = tag
        _check(tag)
        with nogil:
            done = self.drop_below(issuer_tag, &octets)
        return done

    def sweep(self, uint32_t owner, /):
        cdef Set* where
        cdef uint64_t index
        cdef int swept = 0
        if not owner:
            raise ValueError("owner 0 is nobody")
        for index in range((<TableHeader*> self.start).sets):
            where = set_at(self.start, index)
            if atomics.load32(&where.owner) != owner:
                continue
            if where.sequence & 1:
                clear(where)
            atomics.store32(&where.owner, 0)
            swept += 1
        return swept

    def usage(self):
        cdef const Set* where
        cdef uint64_t index
        cdef uint64_t records = 0
        cdef uint64_t units = 0
        for index in range((<TableHeader*> self.start).sets):
            where = set_at(self.start, index)
            records += where.count
            units += max(where.end, <uint16_t> FIRST_UNIT) - FIRST_UNIT
        return records, units * UNIT, (<TableHeader*> self.start).sets * (UNITS - FIRST_UNIT) * UNIT

    cdef Put put_span(
        self, const uint8_t* tag, const Span* serial, const Span* record, int64_t now, Span* other
    ) noexcept nogil:
        """`other`, unless it is NULL, has room for MAX_RECORD octets, and is what is kept instead after KEPT_OTHER."""
        cdef Hash hash_
        cdef (Set*)[2] pair
        cdef RecordView view
        cdef const uint8_t* held
        cdef Set* where = NULL
        cdef int units = <int> ((ENTRY + serial.size + record.size + UNIT - 1) // UNIT)
        cdef int index
        cdef int way = -1
        cdef Put outcome = KEPT
        if serial.size > MAX_TABLE_SERIAL or record.size > MAX_RECORD or units > UNITS - FIRST_UNIT:
            return TOO_LONG
        if parse_record(record.data, record.size, &view) != NULL:
            return TOO_LONG
        hash_ = hash_of((<TableHeader*> self.start).key, tag, serial.data, serial.size)
        sets_of(self.start, &hash_, pair)
        if not own_both(pair, self.owner):
            return BUSY
        for index in range(2):
            if way < 0:
                where = pair[index]
                way = way_of(where, print_of(&hash_), tag, serial)
        if is_below(self.floors.start, tag, serial, view.epoch, view.number, view.as_of):
            outcome = BELOW_FLOOR
        elif way >= 0:
            held = record_in(entry_at(where, where.first[way]))
            if outranks(held, record.data, now):
                outcome = KEPT_OTHER
                if other != NULL:
                    other.size = entry_at(where, where.first[way]).size
                    memcpy(<uint8_t*> other.data, held, other.size)
        if outcome == KEPT:
            if way >= 0:
                begin(where)
                remove(where, way)
                finish(where)
            if room_left(pair[1]) > room_left(pair[0]):
                add(pair[1], print_of(&hash_), units, tag, serial, record, now)
            else:
                add(pair[0], print_of(&hash_), units, tag, serial, record, now)
        disown(pair)
        return outcome

    cdef bint drop_below(self, const uint8_t* tag, const Span* serial) noexcept nogil:
        """Take out what is below its floor; False when others kept the sets for too long."""
        cdef Hash hash_
        cdef (Set*)[2] pair
        cdef RecordView view
        cdef Entry* entry
        cdef int index, way
        if serial.size > MAX_TABLE_SERIAL:
            return True
        hash_ = hash_of((<TableHeader*> self.start).key, tag, serial.data, serial.size)
        sets_of(self.start, &hash_, pair)
        if not own_both(pair, self.owner):
            return False
        for index in range(2):
            way = way_of(pair[index], print_of(&hash_), tag, serial)
            if way < 0:
                continue
            entry = entry_at(pair[index], pair[index].first[way])
            if parse_record(record_in(entry), entry.size, &view) != NULL or is_below(
                self.floors.start, tag, serial, view.epoch, view.number, view.as_of
            ):
                begin(pair[index])
                remove(pair[index], way)
                finish(pair[index])
        disown(pair)
        return True


cdef void clear(Set* where) noexcept nogil:
    """Empty what was left half-written: it is only a cache."""
    where.count, where.hand, where.end = 0, 0, FIRST_UNIT
    memset(where.prints, 0, sizeof(where.prints))
    memset(where.used, 0, sizeof(where.used))
    finish(where)


cdef int _check(bytes tag) except -1:
    if len(tag) != ISSUER_TAG:
        raise ValueError(f"an issuer's tag has {ISSUER_TAG} octets, not {len(tag)}")
    return 0
