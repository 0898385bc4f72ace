"""Judges what goes to another parser of HTTP/1.x: see framing.pxd."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from responder._native.der cimport Bytes
from responder._native.get_path cimport cs_hex

from responder._native.rows import RequestHead

cdef enum Where:
    IN_HEAD                  # or before it
    IN_BODY
    IN_SIZE                  # the line before a chunk
    IN_CHUNK
    AFTER_CHUNK
    IN_TRAILERS

cdef enum:
    MAX_SIZE_DIGITS = 8
    MAX_LINE = 256           # before a chunk, with what is said of it


@cython.final
cdef class Framing:
    cdef Where where
    cdef uint64_t left       # of a body or a chunk
    cdef bytes begun         # of a head, the line before a chunk or trailers
    cdef int heads           # that were passed on
    cdef readonly int refused

    def __cinit__(self):
        self.begun = b""

    @property
    def outstanding(self):
        if self.where == IN_HEAD and not self.begun:
            return 0
        return 2 * self.heads + 1 + (self.where != IN_HEAD)

    def feed(self, bytes octets not None, /):
        cdef bytes whole = self.begun + octets if self.begun else octets
        cdef Bytes position = whole
        cdef Bytes end = position + len(whole)
        cdef Bytes passed = position
        cdef Bytes at
        cdef Shape shape
        cdef list judged = []
        if self.refused:
            return b""
        while position < end:
            at = position
            if self.where == IN_HEAD and at[0] == 13 and (end - at < 2 or at[1] == 10):
                # An empty line before a request is passed over (RFC 9112 §2.2).
                judged.append(<bytes> passed[:at - passed])
                passed = at
                if end - at < 2:
                    break
                position = passed = at + 2
                continue
            shape = self.step(&at, end)
            if shape == PART:
                break
            if shape != WHOLE:
                self.refused = 431 if shape == TOO_LONG else 400
                break
            position = at
        judged.append(<bytes> passed[:position - passed])
        self.begun = <bytes> position[:end - position]
        return b"".join(judged)

    cdef Shape step(self, Bytes* at, Bytes end) noexcept nogil:
        """Over what belongs together: a head, a line, or what is there of a body."""
        cdef Head head
        cdef Shape shape
        cdef uint64_t there = <uint64_t> (end - at[0])
        if self.where == IN_BODY or self.where == IN_CHUNK:
            there = min(there, self.left)
            self.left -= there
            at[0] += there
            if self.left == 0:
                self.where = AFTER_CHUNK if self.where == IN_CHUNK else IN_HEAD
            return WHOLE
        if self.where == IN_SIZE:
            return self.chunk_size(at, end)
        if self.where == AFTER_CHUNK:
            if at[0][0] != 13 or (there > 1 and at[0][1] != 10):
                return REFUSED
            if there < 2:
                return PART
            at[0] += 2
            self.where = IN_SIZE
            return WHOLE
        if self.where == IN_TRAILERS:
            clear(&head)
            shape = read_fields(at, end, &head)
            if head.has_host or head.has_length or head.is_chunked:
                return REFUSED   # said too late (RFC 9110 §6.5.1)
            self.where = IN_HEAD if shape == WHOLE else IN_TRAILERS
            return TOO_LONG if shape == PART and there >= MAX_HEAD else shape
        shape = read_head(at[0], there, &head)
        if shape == WHOLE:
            self.heads += 1
            at[0] += head.size
            self.left = head.body_size
            self.where = IN_SIZE if head.is_chunked else IN_BODY if self.left else IN_HEAD
        return shape

    cdef Shape chunk_size(self, Bytes* at, Bytes end) noexcept nogil:
        """RFC 9112 §7.1; what is said of a chunk is passed over."""
        cdef Bytes position = at[0]
        cdef uint64_t size = 0
        cdef int digit
        while position < end:
            digit = cs_hex(position[0])
            if digit < 0:
                break
            if position - at[0] == MAX_SIZE_DIGITS:
                return REFUSED
            size = size << 4 | <uint64_t> digit
            position += 1
        if position < end and position == at[0]:
            return REFUSED
        if position < end and position[0] == 59:
            while position < end and cs_kind[position[0]] & VALUE:
                position += 1
        if position - at[0] > MAX_LINE:
            return REFUSED
        if position == end or (position[0] == 13 and position + 1 == end):
            return PART
        if position[0] != 13 or position[1] != 10:
            return REFUSED
        at[0] = position + 2
        self.left = size
        self.where = IN_CHUNK if size else IN_TRAILERS
        return WHOLE


def read_request(bytes octets not None, /):
    cdef Head head
    cdef Shape shape = read_head(octets, len(octets), &head)
    if shape != WHOLE:
        return "part" if shape == PART else "too long" if shape == TOO_LONG else "refused", None
    return "whole", RequestHead(
        "" if head.method == ANOTHER else ("GET", "HEAD", "POST")[head.method],
        <bytes> head.target[:head.target_size],
        head.size,
        None if head.is_chunked else head.body_size,
        [<bytes> head.tags[:head.tags_size]] * head.tag_lists,
        head.has_since,
        head.expects,
        head.closes,
    )
