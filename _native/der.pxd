"""DER in and out, without the GIL and without allocation.

Reading walks forward and checks every length against its container. Writing walks backward from the end of a buffer,
so that every length is known when its header is written. A writer that runs out of room sets `full` and writes no
more; whoever made the buffer checks that at the end.
"""

from libc.stddef cimport size_t
from libc.string cimport memcmp, memcpy

cdef enum:
    BOOLEAN = 0x01
    INTEGER = 0x02
    BIT_STRING = 0x03
    OCTET_STRING = 0x04
    NULL_TAG = 0x05
    OID = 0x06
    ENUMERATED = 0x0A
    SEQUENCE = 0x30

ctypedef const unsigned char* Bytes

ctypedef struct In:
    Bytes position
    Bytes end

ctypedef struct TLV:
    unsigned char tag
    Bytes start      # of the tag
    size_t total     # tag, length and content
    Bytes content
    size_t length

ctypedef struct Span:
    Bytes data
    size_t size

ctypedef struct Out:
    unsigned char* start
    unsigned char* position  # the next octet goes before it
    bint full


cdef inline In reader(Bytes data, size_t size) noexcept nogil:
    cdef In source
    source.position = data
    source.end = data + size
    return source


cdef inline bint at_end(const In* source) noexcept nogil:
    return source.position == source.end


cdef inline bint next_is(const In* source, unsigned char tag) noexcept nogil:
    return source.position < source.end and source.position[0] == tag


cdef inline bint read_any(In* source, TLV* value) noexcept nogil:
    """One value with a low tag number and a definite, minimal length that lies within its container."""
    cdef size_t left = <size_t> (source.end - source.position)
    cdef size_t header = 2
    cdef size_t length
    cdef size_t octets
    cdef size_t index
    # Tag number 31 begins the long form, which nothing we read has; tag 0 is reserved.
    if left < 2 or (source.position[0] & 0x1F) == 0x1F or source.position[0] == 0:
        return False
    length = source.position[1]
    if length >= 0x80:
        octets = length & 0x7F
        # 0 is the indefinite form; 4 octets are more than any input may have.
        if octets == 0 or octets > 4 or left < 2 + octets:
            return False
        length = 0
        for index in range(octets):
            length = (length << 8) | source.position[2 + index]
        if length < 0x80 or (octets > 1 and length >> (8 * (octets - 1)) == 0):
            return False
        header += octets
    if length > left - header:
        return False
    value.tag = source.position[0]
    value.start = source.position
    value.content = source.position + header
    value.length = length
    value.total = header + length
    source.position = value.content + length
    return True


cdef inline bint read(In* source, unsigned char tag, TLV* value) noexcept nogil:
    return next_is(source, tag) and read_any(source, value)


cdef inline bint enter(In* source, unsigned char tag, In* inside) noexcept nogil:
    cdef TLV value
    if not read(source, tag, &value):
        return False
    inside.position = value.content
    inside.end = value.content + value.length
    return True


cdef inline bint is_minimal_integer(Bytes content, size_t length) noexcept nogil:
    """X.690 §8.3.2: at least one octet, and the first nine bits aren't all equal."""
    if length == 0:
        return False
    if length == 1:
        return True
    if content[0] == 0x00:
        return content[1] & 0x80 != 0
    if content[0] == 0xFF:
        return content[1] & 0x80 == 0
    return True


cdef inline bint is_oid(const TLV* value) noexcept nogil:
    """X.690 §8.19: whole subidentifiers, none beginning with 0x80."""
    cdef size_t index
    cdef bint begins = True
    if value.length == 0 or value.content[value.length - 1] & 0x80:
        return False
    for index in range(value.length):
        if begins and value.content[index] == 0x80:
            return False
        begins = value.content[index] & 0x80 == 0
    return True


cdef inline bint has_extension(Bytes data, size_t size, Bytes oid, size_t oid_size) noexcept nogil:
    """Whether one of these Extension values, which were checked before, has this OBJECT IDENTIFIER."""
    cdef In source = reader(data, size)
    cdef In extension
    cdef TLV value
    while enter(&source, SEQUENCE, &extension) and read(&extension, OID, &value):
        if value.total == oid_size and memcmp(value.start, oid, oid_size) == 0:
            return True
    return False


cdef inline bint is_extensions(Bytes data, size_t size) noexcept nogil:
    """Extension values in DER one after the other, none twice, or nothing: what we are given to sign (RFC 5280 §4.1,
    §4.2)."""
    cdef In source = reader(data, size)
    cdef In extension
    cdef TLV value
    cdef Bytes start
    while not at_end(&source):
        start = source.position
        if not enter(&source, SEQUENCE, &extension) or not read(&extension, OID, &value) or not is_oid(&value):
            return False
        if has_extension(data, <size_t> (start - data), value.start, value.total):
            return False
        if next_is(&extension, BOOLEAN):
            if not read_any(&extension, &value) or value.length != 1 or value.content[0] != 0xFF:
                return False
        if not read(&extension, OCTET_STRING, &value) or not at_end(&extension):
            return False
    return True


cdef inline bint is_one(Bytes data, size_t size, unsigned char tag) noexcept nogil:
    """One value of this tag, and nothing after it."""
    cdef In source = reader(data, size)
    cdef TLV value
    return read(&source, tag, &value) and at_end(&source)


cdef inline Span span(bytes octets):
    """A view into `octets`, for as long as somebody holds them."""
    cdef Span view
    view.data = octets
    view.size = <size_t> len(octets)
    return view


cdef inline Out writer(unsigned char* buffer, size_t size) noexcept nogil:
    cdef Out out
    out.start = buffer
    out.position = buffer + size
    out.full = False
    return out


cdef inline unsigned char* room_for(Out* out, size_t size) noexcept nogil:
    """Where the next `size` octets go, to be written at once; NULL when there is no room."""
    if <size_t> (out.position - out.start) < size:
        out.full = True
        return NULL
    out.position -= size
    return out.position


cdef inline void put(Out* out, Bytes data, size_t size) noexcept nogil:
    cdef unsigned char* at = room_for(out, size)
    if at != NULL:
        memcpy(at, data, size)


cdef inline void put_span(Out* out, const Span* what) noexcept nogil:
    put(out, what.data, what.size)


cdef inline void put_octet(Out* out, unsigned char octet) noexcept nogil:
    cdef unsigned char* at = room_for(out, 1)
    if at != NULL:
        at[0] = octet


cdef inline void put_header(Out* out, unsigned char tag, size_t length) noexcept nogil:
    cdef size_t octets = 0
    cdef unsigned char* at
    if length >= 0x80:
        octets = 1
        while octets < sizeof(size_t) and length >> (8 * octets):
            octets += 1
    at = room_for(out, 2 + octets)
    if at == NULL:
        return
    at[0] = tag
    at[1] = <unsigned char> (0x80 | octets if octets else length)
    while octets:
        at[1 + octets] = <unsigned char> (length & 0xFF)
        length >>= 8
        octets -= 1


cdef inline void put_value(Out* out, unsigned char tag, Bytes data, size_t size) noexcept nogil:
    put(out, data, size)
    put_header(out, tag, size)


cdef inline size_t written(const Out* out, const unsigned char* end) noexcept nogil:
    """How much has been written since the position was `end`."""
    return <size_t> (end - <const unsigned char*> out.position)


cdef inline void wrap(Out* out, unsigned char tag, const unsigned char* end) noexcept nogil:
    """Put a header before everything written since the position was `end`."""
    put_header(out, tag, written(out, end))


cdef inline int whole(str name, object number) except -1:
    """Refuse what C would cut to an integer.

    Raises:
        TypeError: not an int.
    """
    if not isinstance(number, int):
        raise TypeError(f"{name} {number!r} isn't a whole number")
    return 0


cdef inline bytes octets_of(const Span* what):
    return <bytes> what.data[:what.size]


cdef inline bytes value_of(unsigned char tag, bytes content):
    """One DER value."""
    cdef unsigned char[8] header
    cdef Out out = writer(header, sizeof(header))
    put_header(&out, tag, len(content))
    return <bytes> out.position[:written(&out, header + sizeof(header))] + content
