"""The shapes of request that nearly all clients send, recognised whole and strictly; all else is for the full parser.

What is accepted means the same to any parser of RFC 9112: one line that ends in CRLF after another, no folding, tokens as
names, exactly one Host, at most one Content-Length of digits and no Transfer-Encoding.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy, strlen

from responder._native cimport der, times
from responder._native.der cimport Bytes, Out, room_for

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    /* Of each octet: 1 in a token (RFC 9110 5.6.2), 2 in a field value, 4 in a target. */
    static uint8_t cs_kind[256];
    __attribute__((constructor)) static void cs_fill_kind(void)
    {
        for (int c = 0; c < 256; c++) {
            int is_letter = (c | 32) >= 'a' && (c | 32) <= 'z', is_digit = c >= '0' && c <= '9';
            cs_kind[c] = (is_letter || is_digit || (c && strchr("!#$%&'*+-.^_`|~", c)) ? 1 : 0)
                       | (c == '\\t' || (c >= 32 && c != 127) ? 2 : 0) | (c > 32 && c < 127 ? 4 : 0);
        }
    }
    /* Whether a name is `lower`, which is of this size and in lower case. */
    static inline int cs_is(const uint8_t *name, const char *lower, size_t size)
    {
        for (size_t i = 0; i < size; i++)
            if (name[i] != (uint8_t) lower[i] && !(name[i] >= 'A' && name[i] <= 'Z' && (name[i] | 32) == lower[i])) return 0;
        return 1;
    }
    static const char cs_days[] = "SunMonTueWedThuFriSat", cs_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    """
    const char* cs_days
    const char* cs_months
    const uint8_t* cs_kind
    bint cs_is(const uint8_t* name, const char* lower, size_t size)

cdef enum:
    TOKEN = 1
    VALUE = 2
    TARGET = 4
    MAX_HEAD = 16384
    MAX_BODY = 16384

cdef enum Shape:
    WHOLE                # head and body are there
    PART                 # well-formed so far, and more is to come
    OTHER                # not one of these shapes

ctypedef struct Head:
    bint is_post
    Bytes target
    size_t target_size
    size_t size          # of the head, with the empty line
    size_t body_size
    bint has_conditions  # If-None-Match or If-Modified-Since
    bint closes          # Connection: close


cdef inline bint read_field(
    Head* head, Bytes name, size_t name_size, Bytes value, size_t size, bint* has_host, bint* has_length
) noexcept nogil:
    """Take note of a header; False when the request is of another shape because of it."""
    cdef size_t index
    if name_size == 4 and cs_is(name, b"host", 4):
        if has_host[0] or size == 0:
            return False
        has_host[0] = True
    elif name_size == 14 and cs_is(name, b"content-length", 14):
        if has_length[0] or size == 0 or size > 5:
            return False
        has_length[0] = True
        for index in range(size):
            if not 48 <= value[index] <= 57:
                return False
            head.body_size = head.body_size * 10 + value[index] - 48
    elif name_size == 10 and cs_is(name, b"connection", 10):
        if size == 5 and cs_is(value, b"close", 5):
            head.closes = True
        elif size != 10 or not cs_is(value, b"keep-alive", 10):
            return False
    elif name_size == 13 and cs_is(name, b"if-none-match", 13):
        head.has_conditions = True
    elif name_size == 17 and cs_is(name, b"if-modified-since", 17):
        head.has_conditions = True
    elif (
        (name_size == 17 and cs_is(name, b"transfer-encoding", 17))
        or (name_size == 7 and cs_is(name, b"upgrade", 7))
        or (name_size == 6 and cs_is(name, b"expect", 6))
        or (name_size == 7 and cs_is(name, b"trailer", 7))
        or (name_size == 2 and cs_is(name, b"te", 2))
        or (name_size == 5 and cs_is(name, b"range", 5))
    ):
        return False
    return True


cdef inline Shape recognise(Bytes data, size_t size, Head* head) noexcept nogil:
    """Of what has come of a connection, the first request. No `Shape` but OTHER is given to more than MAX_HEAD octets of
    head or MAX_BODY of body."""
    cdef Bytes position = data
    cdef Bytes end = data + size
    cdef Bytes name
    cdef Bytes value
    cdef Bytes last
    cdef size_t name_size
    cdef bint has_host = False
    cdef bint has_length = False
    cdef Shape unfinished = PART if size < MAX_HEAD else OTHER
    head.body_size = 0
    head.has_conditions = head.closes = False
    if size < 5:
        return PART if memcmp(data, b"GET /", size) == 0 or memcmp(data, b"POST ", size) == 0 else OTHER
    head.is_post = memcmp(data, b"POST ", 5) == 0
    if not head.is_post and memcmp(data, b"GET /", 5) != 0:
        return OTHER
    position += 5 if head.is_post else 4
    head.target = position
    while position < end and cs_kind[position[0]] & TARGET:
        position += 1
    head.target_size = <size_t> (position - head.target)
    if position < end and (head.target_size == 0 or head.target[0] != 47):
        return OTHER
    if end - position < 11:
        return unfinished if memcmp(position, b" HTTP/1.1\r\n", <size_t> (end - position)) == 0 else OTHER
    if memcmp(position, b" HTTP/1.1\r\n", 11) != 0:
        return OTHER
    position += 11
    while True:
        if end - position < 2:
            return unfinished
        if position[0] == 13:
            break
        name = position
        while position < end and cs_kind[position[0]] & TOKEN:
            position += 1
        if position == end:
            return unfinished
        name_size = <size_t> (position - name)
        if position[0] != 58 or name_size == 0:
            return OTHER
        position += 1
        while position < end and (position[0] == 32 or position[0] == 9):
            position += 1
        value = position
        while position < end and cs_kind[position[0]] & VALUE:
            position += 1
        if end - position < 2:
            return unfinished
        if position[0] != 13 or position[1] != 10:
            return OTHER
        last = position
        while last > value and ((last - 1)[0] == 32 or (last - 1)[0] == 9):
            last -= 1
        if not read_field(head, name, name_size, value, <size_t> (last - value), &has_host, &has_length):
            return OTHER
        position += 2
    if position[1] != 10:
        return OTHER
    head.size = <size_t> (position + 2 - data)
    if not has_host or head.is_post != has_length or head.size > MAX_HEAD or head.body_size > MAX_BODY:
        return OTHER
    return WHOLE if size - head.size >= head.body_size else PART


cdef inline bint is_for_any_ocsp(Bytes target, size_t size) noexcept nogil:
    """Whether a request at this target may be OCSP, and nothing else: see `web.exchange`."""
    cdef size_t index
    if size >= 4 and memcmp(target, b"/crl", 4) == 0:
        return False
    if size >= 13 and memcmp(target, b"/.well-known/", 13) == 0:
        return size >= 23 and memcmp(target, b"/.well-known/pki/ocsp/M", 23) == 0
    for index in range(size):
        if target[index] == 63:     # a query
            return False
    return True


# --- writing a head, backward


cdef inline void put_text(Out* out, const char* text) noexcept nogil:
    der.put(out, <Bytes> text, strlen(text))


cdef inline void put_number(Out* out, int64_t number) noexcept nogil:
    """Of a number that isn't negative."""
    while True:
        der.put_octet(out, <uint8_t> (48 + number % 10))
        number //= 10
        if number == 0:
            return


cdef inline void put_hex(Out* out, Bytes octets, size_t size) noexcept nogil:
    cdef const char* digits = b"0123456789abcdef"
    cdef unsigned char* at = room_for(out, 2 * size)
    cdef size_t index
    if at == NULL:
        return
    for index in range(size):
        at[2 * index] = digits[octets[index] >> 4]
        at[2 * index + 1] = digits[octets[index] & 15]


cdef inline void put_date(Out* out, int64_t seconds) noexcept nogil:
    """IMF-fixdate (RFC 9110 §5.6.7)."""
    cdef times.Calendar day
    cdef unsigned char* at = room_for(out, 29)
    if at == NULL:
        return
    times.set_calendar(&day, seconds)
    memcpy(at, cs_days + 3 * day.weekday, 3)
    at[3], at[4], at[7], at[11], at[16] = 44, 32, 32, 32, 32
    times.write_two(at + 5, day.day)
    memcpy(at + 8, cs_months + 3 * (day.month - 1), 3)
    times.write_two(at + 12, day.year // 100)
    times.write_two(at + 14, day.year % 100)
    times.write_two(at + 17, day.hour)
    times.write_two(at + 20, day.minute)
    times.write_two(at + 23, day.second)
    at[19] = at[22] = 58
    memcpy(at + 25, b" GMT", 4)
