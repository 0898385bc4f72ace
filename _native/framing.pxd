"""Where a request of HTTP/1.x begins and ends: one strict parser of heads, for the lane and for what goes to Hypercorn.

What is accepted means the same to any parser of RFC 9112: one line that ends in CRLF after another, no folding, tokens as
names, exactly one Host (at most one in HTTP/1.0), at most one Content-Length, of digits, or else chunked and nothing more.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

from responder._native.der cimport Bytes

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    /* Of each octet: 1 in a token (RFC 9110 5.6.2), 2 in a field value, 4 in a target, 8 in a Host (RFC 3986 3.2.2, 3.2.3). */
    static uint8_t cs_kind[256];
    __attribute__((constructor)) static void cs_fill_kind(void)
    {
        for (int c = 0; c < 256; c++) {
            int is_letter = (c | 32) >= 'a' && (c | 32) <= 'z', is_digit = c >= '0' && c <= '9';
            cs_kind[c] = (is_letter || is_digit || (c && strchr("!#$%&'*+-.^_`|~", c)) ? 1 : 0)
                       | (c == '\\t' || (c >= 32 && c != 127) ? 2 : 0) | (c > 32 && c < 127 ? 4 : 0)
                       | (is_letter || is_digit || (c && strchr("-._~%!$&'()*+,;=:[]", c)) ? 8 : 0);
        }
    }
    /* Whether a name is `lower`, which is of this size and in lower case. */
    static inline int cs_is(const uint8_t *name, const char *lower, size_t size)
    {
        for (size_t i = 0; i < size; i++)
            if (name[i] != (uint8_t) lower[i] && !(name[i] >= 'A' && name[i] <= 'Z' && (name[i] | 32) == lower[i])) return 0;
        return 1;
    }
    """
    const uint8_t* cs_kind
    bint cs_is(const uint8_t* name, const char* lower, size_t size)

cdef enum:
    TOKEN = 1
    VALUE = 2
    TARGET = 4
    HOST = 8
    MAX_HEAD = 16384     # octets, with the empty line
    MAX_DIGITS = 15      # of a Content-Length
    VERSION = 11         # " HTTP/1.1\r\n"

cdef enum Shape:
    WHOLE                # the head is there
    PART                 # well-formed so far, and more is to come
    REFUSED              # not a request, or one that two parsers may read differently: 400
    TOO_LONG             # 431

cdef enum Method:
    GET
    HEAD
    POST
    ANOTHER

ctypedef struct Head:
    Method method
    bint is_old              # HTTP/1.0
    Bytes target
    size_t target_size
    size_t size              # of the head, with the empty line
    bint has_host
    bint has_length
    uint64_t body_size       # where it isn't chunked
    bint is_chunked
    bint expects             # 100-continue
    bint closes              # as the client says, or HTTP/1.0
    bint has_since           # If-Modified-Since
    int tag_lists            # how many If-None-Match
    Bytes tags               # the last of them
    size_t tags_size


cdef inline void clear(Head* head) noexcept nogil:
    head.is_old = head.has_host = head.has_length = head.is_chunked = False
    head.expects = head.closes = head.has_since = False
    head.body_size, head.tag_lists, head.tags_size = 0, 0, 0


cdef inline bint is_for_rules(const Head* head) noexcept nogil:
    """Whether its conditions are for `web.caching`: a date alone, or several lists of tags."""
    return head.tag_lists > 1 or (head.has_since and head.tag_lists == 0)


cdef inline bint read_length(Head* head, Bytes value, size_t size) noexcept nogil:
    cdef size_t index
    if head.has_length or head.is_chunked or size == 0 or size > MAX_DIGITS:
        return False
    head.has_length = True
    for index in range(size):
        if not 48 <= value[index] <= 57:
            return False
        head.body_size = head.body_size * 10 + value[index] - 48
    return True


cdef inline Bytes before_blanks(Bytes first, Bytes last) noexcept nogil:
    """Where a text ends without the blanks at its end."""
    while last > first and ((last - 1)[0] == 32 or (last - 1)[0] == 9):
        last -= 1
    return last


cdef inline bint next_in_list(Bytes* at, Bytes end, Bytes* first, Bytes* last) noexcept nogil:
    """The next part of a list with commas (RFC 9110 §5.6.1), without the blanks around it."""
    if at[0] >= end:
        return False
    first[0] = at[0]
    while at[0] < end and at[0][0] != 44:
        at[0] += 1
    last[0] = at[0]
    at[0] += 1
    while first[0] < last[0] and (first[0][0] == 32 or first[0][0] == 9):
        first[0] += 1
    last[0] = before_blanks(first[0], last[0])
    return True


cdef inline void read_connection(Head* head, Bytes value, size_t size) noexcept nogil:
    """A list of tokens, of which `close` matters."""
    cdef Bytes end = value + size
    cdef Bytes token
    cdef Bytes last
    while next_in_list(&value, end, &token, &last):
        if last - token == 5 and cs_is(token, b"close", 5):
            head.closes = True


cdef inline bint read_field(Head* head, Bytes name, size_t name_size, Bytes value, size_t size) noexcept nogil:
    """Take note of a header; False where it makes the request ambiguous."""
    cdef size_t index
    if name_size == 4 and cs_is(name, b"host", 4):
        if head.has_host:
            return False
        head.has_host = True
        for index in range(size):
            if not cs_kind[value[index]] & HOST:
                return False
    elif name_size == 14 and cs_is(name, b"content-length", 14):
        return read_length(head, value, size)
    elif name_size == 17 and cs_is(name, b"transfer-encoding", 17):
        if head.has_length or head.is_chunked or head.is_old or size != 7 or not cs_is(value, b"chunked", 7):
            return False
        head.is_chunked = True
    elif name_size == 10 and cs_is(name, b"connection", 10):
        read_connection(head, value, size)
    elif name_size == 6 and cs_is(name, b"expect", 6):
        head.expects = size == 12 and not head.is_old and cs_is(value, b"100-continue", 12)
    elif name_size == 13 and cs_is(name, b"if-none-match", 13):
        head.tags, head.tags_size = value, size
        head.tag_lists += 1
    elif name_size == 17 and cs_is(name, b"if-modified-since", 17):
        head.has_since = True
    return True


cdef inline bint is_target(Bytes target, size_t size) noexcept nogil:
    """Origin form, absolute form of http and https, or `*` (RFC 9112 §3.2)."""
    cdef size_t index = 7
    if size and target[0] == 47:
        return True
    if size > 8 and cs_is(target, b"https://", 8):
        index = 8
    elif size <= 7 or not cs_is(target, b"http://", 7):
        return size == 1 and target[0] == 42
    if not cs_kind[target[index]] & HOST:
        return False
    while index < size and cs_kind[target[index]] & HOST:
        index += 1
    return index == size or target[index] == 47 or target[index] == 63


cdef inline Shape read_line(Bytes* at, Bytes end, Head* head) noexcept nogil:
    """The request line, with its CRLF."""
    cdef Bytes position = at[0]
    cdef Bytes name = position
    cdef size_t rest
    while position < end and cs_kind[position[0]] & TOKEN:
        position += 1
    if position == end:
        return PART
    if position[0] != 32 or position == name:
        return REFUSED
    if position - name == 3 and memcmp(name, b"GET", 3) == 0:
        head.method = GET
    elif position - name == 4 and memcmp(name, b"POST", 4) == 0:
        head.method = POST
    elif position - name == 4 and memcmp(name, b"HEAD", 4) == 0:
        head.method = HEAD
    else:
        head.method = ANOTHER
    position += 1
    head.target = position
    while position < end and cs_kind[position[0]] & TARGET:
        position += 1
    head.target_size = <size_t> (position - head.target)
    rest = min(<size_t> (end - position), <size_t> VERSION)
    if memcmp(position, b" HTTP/1.1\r\n", rest) != 0:
        if memcmp(position, b" HTTP/1.0\r\n", rest) != 0:
            return REFUSED
        head.is_old = head.closes = True
    if rest and not is_target(head.target, head.target_size):
        return REFUSED
    at[0] = position + VERSION
    return WHOLE if rest == VERSION else PART


cdef inline Shape read_fields(Bytes* at, Bytes end, Head* head) noexcept nogil:
    """Header lines, and the empty line after them."""
    cdef Bytes position = at[0]
    cdef Bytes name
    cdef Bytes value
    cdef size_t name_size
    while True:
        if end - position < 2:
            return PART if position == end or position[0] == 13 or cs_kind[position[0]] & TOKEN else REFUSED
        if position[0] == 13:
            at[0] = position + 2
            return WHOLE if position[1] == 10 else REFUSED
        name = position
        while position < end and cs_kind[position[0]] & TOKEN:
            position += 1
        if position == end:
            return PART
        name_size = <size_t> (position - name)
        if position[0] != 58 or name_size == 0:
            return REFUSED
        position += 1
        while position < end and (position[0] == 32 or position[0] == 9):
            position += 1
        value = position
        while position < end and cs_kind[position[0]] & VALUE:
            position += 1
        if position == end or (position[0] == 13 and position + 1 == end):
            return PART
        if position[0] != 13 or position[1] != 10:
            return REFUSED
        if not read_field(head, name, name_size, value, <size_t> (before_blanks(value, position) - value)):
            return REFUSED
        position += 2


cdef inline Shape read_head(Bytes data, size_t size, Head* head) noexcept nogil:
    """Of what has come of a connection, the first request's head. What is refused stays refused whatever follows it."""
    cdef Bytes position = data
    cdef Shape shape
    clear(head)
    shape = read_line(&position, data + size, head)
    if shape == WHOLE:
        shape = read_fields(&position, data + size, head)
    if shape == PART:
        return PART if size < MAX_HEAD else TOO_LONG
    if shape != WHOLE:
        return shape
    head.size = <size_t> (position - data)
    if head.size > MAX_HEAD:
        return TOO_LONG
    return WHOLE if head.has_host or head.is_old else REFUSED
