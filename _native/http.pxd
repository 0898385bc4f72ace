"""Heads of HTTP/1.1 responses, written backward; and which targets are OCSP. `stamp` is a date (IMF-fixdate), and what
headers every response has besides."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy, strlen

from responder._native cimport der, times
from responder._native.der cimport Bytes, Out, Span, room_for
from responder._native.framing cimport next_in_list

cdef extern from * nogil:
    """
    static const char cs_days[] = "SunMonTueWedThuFriSat", cs_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    """
    const char* cs_days
    const char* cs_months

cdef enum:
    OVERLOADED = 3       # OCSPResponseStatus tryLater
    UNAUTHORIZED = 6
    TOO_MANY = 429       # of HTTP


cdef inline bint is_for_any_ocsp(Bytes target, size_t size) noexcept nogil:
    """Whether a request at this target may be OCSP, and nothing else: see `web.exchange`."""
    cdef size_t index
    if size == 0 or target[0] != 47:
        return False
    if size >= 4 and memcmp(target, b"/crl", 4) == 0:
        return False
    if size >= 13 and memcmp(target, b"/.well-known/", 13) == 0:
        return size >= 23 and memcmp(target, b"/.well-known/pki/ocsp/M", 23) == 0
    for index in range(size):
        if target[index] == 63:     # a query
            return False
    return True


cdef inline void put_text(Out* out, const char* text) noexcept nogil:
    der.put(out, <Bytes> text, strlen(text))


cdef inline void put_number(Out* out, int64_t number) noexcept nogil:
    """Of a number that isn't negative."""
    while True:
        der.put_octet(out, <uint8_t> (48 + number % 10))
        number //= 10
        if number == 0:
            return


cdef inline void write_hex(uint8_t* at, Bytes octets, size_t size) noexcept nogil:
    cdef const char* digits = b"0123456789abcdef"
    cdef size_t index
    for index in range(size):
        at[2 * index] = digits[octets[index] >> 4]
        at[2 * index + 1] = digits[octets[index] & 15]


cdef inline bint is_among(Bytes tag, size_t tag_size, Bytes tags, size_t size) noexcept nogil:
    """Whether a list of entity tags has this one, compared weakly, or is `*`: as `web.caching.is_not_modified`."""
    cdef Bytes end = tags + size
    cdef Bytes first
    cdef Bytes last
    while next_in_list(&tags, end, &first, &last):
        if last - first >= 2 and first[0] == 87 and first[1] == 47:     # W/
            first += 2
        if last - first == 1 and first[0] == 42:
            return True
        if (
            <size_t> (last - first) == tag_size + 2
            and first[0] == 34
            and (last - 1)[0] == 34
            and memcmp(first + 1, tag, tag_size) == 0
        ):
            return True
    return False


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


cdef inline void put_refusal(Out* out, int status, const Span* stamp) noexcept nogil:
    """Of what isn't a request, with the end of its connection."""
    put_text(out, b"\r\n\r\n")
    der.put_span(out, stamp)
    put_text(out, b"Content-Length: 0\r\nConnection: close\r\nDate: ")
    put_text(out, b" Request Header Fields Too Large\r\n" if status == 431 else b" Bad Request\r\n")
    put_number(out, status)
    put_text(out, b"HTTP/1.1 ")


cdef inline void put_error(
    Out* out, int status, int64_t retry_after, bint closes, bint is_head, const Span* stamp
) noexcept nogil:
    """A whole response without an answer: an OCSP error (RFC 6960 §4.2.1), as `web.exchange.refused` has it, or 429 for
    TOO_MANY. `retry_after` in seconds, 0 where asking again doesn't help."""
    if status != TOO_MANY and not is_head:
        der.put_octet(out, <uint8_t> status)
        put_text(out, b"\x30\x03\x0a\x01")
    put_text(out, b"\r\nConnection: close\r\n\r\n" if closes else b"\r\n\r\n")
    der.put_span(out, stamp)
    put_text(out, b"\r\nDate: ")
    if retry_after:
        put_number(out, retry_after)
        put_text(out, b"\r\nRetry-After: ")
    put_text(out, b"\r\nContent-Length: 0" if status == TOO_MANY else b"\r\nContent-Length: 5")
    put_text(out, b"\r\nCache-Control: no-store")
    if status == TOO_MANY:
        put_text(out, b"HTTP/1.1 429 Too Many Requests")
    else:
        put_text(out, b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response")


cdef inline void put_live_head(Out* out, size_t size, bint closes, const Span* stamp) noexcept nogil:
    """Before an OCSP response of this size that is one client's alone (9654-05)."""
    put_text(out, b"\r\nConnection: close\r\n\r\n" if closes else b"\r\n\r\n")
    der.put_span(out, stamp)
    put_text(out, b"\r\nDate: ")
    put_number(out, <int64_t> size)
    put_text(out, b"\r\nCache-Control: no-store\r\nContent-Length: ")
    put_text(out, b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response")
