"""The table: what a host has of records, found in a microsecond by every process (design §3).

The memory is a header and then sets of 4,096 octets. A certificate may stand in either of two sets, by its keyed hash; a
put takes the emptier one, so a table can be filled to nine tenths before much is given up. In a set entries of any length
stand one after the other without gaps: P-256 and RSA share the memory as they come.

Readers never wait: a sequence number for each set, odd while it is written, tells a torn copy, which is a miss. Writers own
a set while they write in it; one that is killed leaves it owned until `sweep`.
"""

cimport cython
from libc.string cimport memcmp, memcpy

from responder._native cimport atomics
from responder._native.algorithms cimport Digester, sha256_of_two
from responder._native.der cimport span
from responder._native.floors cimport is_below
from responder._native.hashing cimport ISSUER_TAG, Hash, hash_of
from responder._native.ranking cimport outranks
from responder._native.record_format cimport CERTIFICATE_TAG, RecordView, parse_record
from responder._native.records cimport Records, read_records
from responder._native.sets cimport (
    ENTRY,
    FIRST_UNIT,
    MAX_TABLE_SERIAL,
    SET,
    UNIT,
    UNITS,
    Entry,
    Set,
    add,
    begin,
    clear,
    disown,
    entry_at,
    find_in,
    finish,
    own_both,
    print_of,
    record_in,
    remove,
    room_left,
    units_left,
    way_of,
)

from responder.errors import SigningFailed

cdef Digester _digester = Digester()

cdef enum:
    HEADER = 4096

cdef uint64_t MAGIC = 0x31656C6261546373  # csTable1


cdef inline Set* set_at(const uint8_t* table, uint64_t index) noexcept nogil:
    return <Set*> (table + HEADER + index * SET)


cdef inline void sets_of(const uint8_t* table, const Hash* hash_, Set** pair) noexcept nogil:
    """The two sets where it may stand; they may be one."""
    cdef uint64_t sets = (<const TableHeader*> table).sets
    pair[0] = set_at(table, (hash_.low >> 32) * sets >> 32)
    pair[1] = set_at(table, (hash_.high >> 32) * sets >> 32)


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
        self.sets = min((<TableHeader*> self.start).sets, <uint64_t> (len(octets) - HEADER) // SET)

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
        for index in range(self.sets):   # not as the header says, which may be what a process crashed of
            where = set_at(self.start, index)
            if atomics.load32(&where.owner) != owner:
                continue
            if where.sequence & 1:
                clear(where)
            atomics.store32(&where.owner, 0)
            swept += 1
        return swept

    def usage(self, uint64_t looked_at=0, /):
        cdef const Set* where
        cdef uint64_t step = max(self.sets // looked_at, <uint64_t> 1) if looked_at else 1
        cdef uint64_t index
        cdef uint64_t looked = 0
        cdef uint64_t records = 0
        cdef uint64_t units = 0
        for index in range(0, self.sets, step):
            where = set_at(self.start, index)
            looked += 1
            records += where.count
            units += UNITS - FIRST_UNIT - units_left(where)
        return records, units * UNIT, looked * (UNITS - FIRST_UNIT) * UNIT

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


cdef int _check(bytes tag) except -1:
    if len(tag) != ISSUER_TAG:
        raise ValueError(f"an issuer's tag has {ISSUER_TAG} octets, not {len(tag)}")
    return 0
