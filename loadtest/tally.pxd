from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef struct Kept:
    size_t request
    int64_t sent_at, answered_at   # nanoseconds
    size_t size
    uint8_t* octets


cdef class Progress:
    cdef public int64_t answered
    cdef public int64_t failed


cdef class Tally:
    cdef int intervals
    cdef int64_t counts_from, interval
    cdef uint32_t* bins
    cdef Kept* kept
    cdef int64_t kept_count, kept_octets, kept_room, every, next_kept, chance
    cdef int64_t[600] statuses
    cdef int64_t[8] ocsp_errors
    cdef int64_t answers, dropped, refused, unreadable, unanswered, connected, octets
    cdef Progress progress

    cdef void begin(self, int64_t counts_from, int64_t end) noexcept nogil
    cdef bint is_next_kept(self, int64_t size) noexcept nogil
    cdef void latency(self, int64_t now, int64_t due) noexcept nogil
    cdef void left(self, int64_t now, int64_t due) noexcept nogil
    cdef void answered(self, int64_t now, int64_t due, int status, int ocsp_error) noexcept nogil
    cdef void keep(self, size_t request, int64_t sent_at, int64_t now, const uint8_t* octets, size_t size) noexcept nogil
    cdef void failed(self, int64_t* counter) noexcept nogil
    cdef tuple told(self)
