"""The request that a GET path carries; see `responder/web/get_path.py`, whose rules these are."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from responder._native.der cimport Bytes

cdef enum:
    MAX_TARGET = 8192
    MAX_SEGMENTS = 64

cdef extern from * nogil:
    """
    #include <stdint.h>
    /* Six bits of base64 in either alphabet, with a blank for the plus that someone decoded; 0x41 for padding, 0x40 for
       all else. */
    static uint8_t cs_six[256];
    __attribute__((constructor)) static void cs_fill_six(void)
    {
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (int c = 0; c < 256; c++) cs_six[c] = 0x40;
        for (int i = 0; i < 64; i++) cs_six[(uint8_t) alphabet[i]] = (uint8_t) i;
        cs_six['-'] = cs_six[' '] = 62, cs_six['_'] = 63, cs_six['='] = 0x41;
    }
    static inline int cs_hex(uint8_t c)
    { return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; }
    """
    const uint8_t* cs_six
    int cs_hex(uint8_t c)

cdef enum:
    SLASH = 63           # in either alphabet; so is _
    NO_DIGIT = 0x40
    PADDING = 0x41
    FIRST_SIX = 12       # of 0x30: M


cdef inline size_t read_path(Bytes path, size_t size, uint8_t* text) noexcept nogil:
    """Escapes decoded once, and six bits for each octet; padding at the end cut off. `text` has room for `size`."""
    cdef size_t index = 0
    cdef size_t length = 0
    cdef uint8_t octet
    cdef int high, low
    while index < size:
        octet = path[index]
        index += 1
        if octet == 37 and index + 1 < size:
            high, low = cs_hex(path[index]), cs_hex(path[index + 1])
            if high >= 0 and low >= 0:
                octet = <uint8_t> (high << 4 | low)
                index += 2
        text[length] = cs_six[octet]
        length += 1
    while length and text[length - 1] == PADDING:
        length -= 1
    return length


cdef inline size_t unpack(const uint8_t* text, size_t size, uint8_t* out) noexcept nogil:
    """Octets from groups of six bits; 0 where they are no base64."""
    cdef size_t index = 0
    cdef uint8_t* end = out
    cdef uint32_t bits
    if size % 4 == 1:
        return 0
    while index + 4 <= size:
        bits = <uint32_t> text[index] << 18 | text[index + 1] << 12 | text[index + 2] << 6 | text[index + 3]
        end[0], end[1], end[2] = <uint8_t> (bits >> 16), <uint8_t> (bits >> 8 & 0xFF), <uint8_t> (bits & 0xFF)
        end += 3
        index += 4
    if size - index == 2:
        end[0] = <uint8_t> (text[index] << 2 | text[index + 1] >> 4)
        end += 1
    elif size - index == 3:
        end[0] = <uint8_t> (text[index] << 2 | text[index + 1] >> 4)
        end[1] = <uint8_t> ((text[index + 1] << 4 | text[index + 2] >> 2) & 0xFF)
        end += 2
    return <size_t> (end - out)


cdef inline bint begins_a_request(const uint8_t* text, size_t size) noexcept nogil:
    """Whether the base64 is as long as the SEQUENCE that it begins with says, and begins with another."""
    cdef uint8_t[12] head
    cdef size_t octets = 0
    cdef size_t length, index, known
    if size == 0 or text[0] != FIRST_SIX:
        return False
    known = unpack(text, size if size < 12 else 12, head)
    if known < 3 or head[0] != 0x30:
        return False
    length = head[1]
    if length >= 0x80:
        octets = length & 0x7F
        if octets < 1 or octets > 4 or known < 3 + octets:
            return False
        length = 0
        for index in range(octets):
            length = length << 8 | head[2 + index]
    return size * 6 // 8 == 2 + octets + length and head[2 + octets] == 0x30


cdef inline size_t find_request(Bytes path, size_t size, uint8_t* text, uint8_t* out) noexcept nogil:
    """The DER after some slash of the path, up to its end; its size, 0 for none. `text` and `out` have room for `size`
    octets, which is at most MAX_TARGET."""
    cdef size_t length, start
    cdef int segment
    if size > MAX_TARGET:
        return 0
    length = read_path(path, size, text)
    start = length
    while start and text[start - 1] < NO_DIGIT:
        start -= 1
    for segment in range(MAX_SEGMENTS):
        while start < length and text[start] != SLASH:
            start += 1
        if start == length:
            return 0
        start += 1
        if begins_a_request(text + start, length - start):
            return unpack(text + start, length - start, out)
    return 0
