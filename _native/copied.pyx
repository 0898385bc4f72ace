"""Statuses as PostgreSQL's COPY … TO STDOUT (FORMAT binary) writes them. Of a million that are merely signed again no
object is made: they are signed from these octets.

Source: PostgreSQL's documentation, COPY, "Binary Format".
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport INT64_MAX, INT64_MIN, int16_t, int32_t, int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from responder._native.der cimport Bytes, Span, span

cdef enum:
    SIGNATURE = 11
    HEADER = 19          # signature, flags, length of the header's extension

cdef enum:
    PARTITION
    EPOCH
    AS_OF
    SERIAL
    NUMBER
    REVOKED_AT           # this and those after it may be NULL
    REASON
    INVALIDITY_DATE
    NOT_BEFORE
    NOT_AFTER
    CERTIFICATE_SHA256
    COLUMNS

# A letter for each: i an integer of 2, 4 or 8 octets, t a timestamptz, b octets.
cdef const char* _KINDS = b"iitbititttb"
cdef const unsigned char* _SIGNATURE = b"PGCOPY\n\xff\r\n\x00"

# Microseconds from 1970 to 2000, where PostgreSQL counts from.
cdef int64_t _TO_1970 = 946_684_800_000_000


@cython.final
cdef class CopiedStatuses:
    """The rows of one statement; see the stub."""

    def __cinit__(self, bytes copied not None, /):
        # The shortest row that there can be, rather more than COLUMNS lengths, decides how many there are at most.
        cdef size_t most = <size_t> len(copied) // (2 + 4 * COLUMNS) + 1
        self.copied = copied
        self.rows = <CopiedStatus*> malloc(most * sizeof(CopiedStatus))
        if self.rows == NULL:
            raise MemoryError
        self.read_rows()

    def __dealloc__(self):
        free(self.rows)

    def __reduce__(self):
        return CopiedStatuses, (self.copied,)

    cdef int read_rows(self) except -1:
        cdef Span octets = span(self.copied)
        cdef Bytes position = octets.data
        cdef Bytes end = octets.data + octets.size
        cdef Span[COLUMNS] fields
        cdef CopiedStatus* row
        cdef int64_t extension, epoch, as_of
        if octets.size < HEADER or memcmp(position, _SIGNATURE, SIGNATURE) != 0:
            raise ValueError("not what COPY writes in its binary format")
        extension = number(position + HEADER - 4, 4)
        position += HEADER
        if not 0 <= extension <= end - position:
            raise ValueError("a header that ends early")
        position += extension
        while True:
            if end - position < 2:
                raise ValueError("rows that end early")
            if number(position, 2) == -1:
                if end - position != 2:
                    raise ValueError("octets after the last row")
                return 0
            if number(position, 2) != COLUMNS:
                raise ValueError(f"a row of {number(position, 2)} columns instead of {COLUMNS}")
            row = &self.rows[self.count]
            row.columns = position + 2
            position = take_fields(row.columns, end, fields)
            epoch, as_of = integer(&fields[EPOCH]), moment(&fields[AS_OF])
            if self.count == 0:
                if not 0 <= epoch < <int64_t> 1 << 32:
                    raise ValueError(f"epoch {epoch} isn't a number of 32 bits")
                self.statement_epoch, self.statement_as_of = <uint32_t> epoch, as_of
            elif epoch != self.statement_epoch or as_of != self.statement_as_of:
                raise ValueError("rows of several statements: their epoch or their as_of differs")
            row.partition = <int> integer(&fields[PARTITION])
            row.number = integer(&fields[NUMBER])
            row.serial = fields[SERIAL]
            row.is_revoked = fields[REVOKED_AT].data != NULL
            row.not_before = INT64_MIN if fields[NOT_BEFORE].data == NULL else moment(&fields[NOT_BEFORE])
            row.not_after = INT64_MAX if fields[NOT_AFTER].data == NULL else moment(&fields[NOT_AFTER])
            self.count += 1

    @property
    def epoch(self):
        return self.statement_epoch

    @property
    def as_of_microseconds(self):
        return self.statement_as_of

    @property
    def last(self):
        cdef CopiedStatus* row
        if self.count == 0:
            return None
        row = &self.rows[self.count - 1]
        return row.partition, <bytes> row.serial.data[:row.serial.size]

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t index):
        cdef Span octets = span(self.copied)
        cdef Span[COLUMNS] fields
        cdef int column
        if index < 0:
            index += self.count
        if not 0 <= index < self.count:
            raise IndexError(index)
        take_fields(self.rows[index].columns, octets.data + octets.size, fields)
        return tuple([value(_KINDS[column], &fields[column]) for column in range(SERIAL, COLUMNS)])

    def names(self, bytes issuer_tag not None, /):
        cdef Span tag = span(issuer_tag)
        cdef Span* serial
        cdef Py_ssize_t index
        cdef bytes name
        cdef list names = []
        for index in range(self.count):
            serial = &self.rows[index].serial
            name = PyBytes_FromStringAndSize(NULL, tag.size + serial.size)
            memcpy(PyBytes_AS_STRING(name), tag.data, tag.size)
            memcpy(PyBytes_AS_STRING(name) + tag.size, serial.data, serial.size)
            names.append(name)
        return names

    def sizes(self):
        cdef dict sizes = {}
        cdef Py_ssize_t index, first = 0
        for index in range(1, self.count + 1):
            if index == self.count or self.rows[index].partition != self.rows[first].partition:
                sizes[self.rows[first].partition] = sizes.get(self.rows[first].partition, 0) + index - first
                first = index
        return sizes


cdef Bytes take_fields(Bytes position, Bytes end, Span* fields) except NULL:
    """The columns of a row, NULL's without data; where they end."""
    cdef int column
    cdef int64_t size
    cdef char kind
    for column in range(COLUMNS):
        if end - position < 4:
            raise ValueError("a row that ends early")
        size = number(position, 4)
        position += 4
        fields[column].data, fields[column].size = NULL, 0
        if size == -1:
            if column < REVOKED_AT:
                raise ValueError(f"NULL in column {column + 1}, which always says something")
            continue
        if not 0 <= size <= end - position:
            raise ValueError("a row that ends early")
        kind = _KINDS[column]
        if not (kind == b"b" or size == 8 or (kind == b"i" and size in (2, 4))):
            raise ValueError(f"a column of {size} octets isn't of the kind {chr(kind)!r}")
        fields[column].data, fields[column].size = position, <size_t> size
        position += size
    return position


cdef object value(char kind, const Span* field):
    if field.data == NULL:
        return None
    if kind == b"b":
        return <bytes> field.data[:field.size]
    return moment(field) if kind == b"t" else integer(field)


cdef inline int64_t integer(const Span* field) noexcept nogil:
    return number(field.data, <int64_t> field.size)


cdef inline int64_t moment(const Span* field) except? -1:
    """Microseconds since 1970."""
    cdef int64_t since_2000 = integer(field)
    if since_2000 > INT64_MAX - _TO_1970:
        raise ValueError(f"a time {since_2000} µs after 2000 is more than can be said")
    return since_2000 + _TO_1970


cdef inline int64_t number(Bytes position, int64_t size) noexcept nogil:
    """A big-endian signed integer of 2, 4 or 8 octets."""
    cdef int64_t value = 0
    cdef int index
    for index in range(<int> size):
        value = (value << 8) | position[index]
    if size == 2:
        return <int16_t> value
    if size == 4:
        return <int32_t> value
    return value
