# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the client counts and keeps. See client.pyi."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

# RFC 6960 §4.2.1
OCSP_ERRORS = ((1, "malformedRequest"), (2, "internalError"), (3, "tryLater"), (5, "sigRequired"), (6, "unauthorized"))

cdef enum:
    FINE = 128                 # buckets between a power of two and the next: 0.8 %
    BUCKETS = FINE * 30
    UNIT = 100                 # nanoseconds
    MOST_KEPT = 1 << 28        # octets


cdef int bucket(int64_t nanoseconds) noexcept nogil:
    cdef int64_t value = max(nanoseconds, 0) // UNIT
    cdef int shift = 0
    while value >> shift >= 2 * FINE:
        shift += 1
    return min(<int> (shift * FINE + (value >> shift)), BUCKETS - 1)


def bucket_of(int64_t nanoseconds):
    return bucket(nanoseconds)


cdef class Progress:
    pass


cdef class Tally:
    def __cinit__(self, int intervals, int64_t every, Progress progress):
        self.intervals, self.every, self.progress = intervals, every, progress
        self.bins = <uint32_t*> calloc(<size_t> intervals * BUCKETS, sizeof(uint32_t))
        if self.bins == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int64_t index
        for index in range(self.kept_count):
            free(self.kept[index].octets)
        free(self.kept)
        free(self.bins)

    cdef void begin(self, int64_t counts_from, int64_t end) noexcept nogil:
        self.counts_from = counts_from
        self.interval = max((end - counts_from) // self.intervals, <int64_t> 1)

    cdef bint is_next_kept(self, int64_t size) noexcept nogil:
        """Whether the answer that comes, of so many octets, is one of those that are kept."""
        if self.every == 0 or self.answers < self.next_kept:
            return False
        # At random distances: requests are sent in turn, and each hundredth of a thousand would always be the same ten.
        self.chance = (self.chance * 1103515245 + 12345) & 0x7FFFFFFF
        self.next_kept = self.answers + 1 + (self.chance >> 8) % (2 * self.every - 1)
        return self.kept_octets + size <= MOST_KEPT

    cdef void latency(self, int64_t now, int64_t due) noexcept nogil:
        cdef int64_t which = min((now - self.counts_from) // self.interval, <int64_t> self.intervals - 1)
        self.bins[max(which, <int64_t> 0) * BUCKETS + bucket(now - due)] += 1

    cdef void left(self, int64_t now, int64_t due) noexcept nogil:
        """A request that has waited until now, and isn't waited for any more."""
        if due >= self.counts_from:
            self.latency(now, due)
            self.unanswered += 1

    cdef void answered(self, int64_t now, int64_t due, int status, int ocsp_error) noexcept nogil:
        """
        Args:
            ocsp_error: the OCSPResponseStatus of what is an OCSP error, else 0.
        """
        self.latency(now, due)
        self.statuses[status] += 1
        self.ocsp_errors[ocsp_error & 7] += 1
        self.answers += 1
        self.progress.answered += 1

    cdef void keep(self, size_t request, int64_t sent_at, int64_t now, const uint8_t* octets, size_t size) noexcept nogil:
        cdef Kept* more
        cdef uint8_t* copy = NULL
        if self.kept_count == self.kept_room:
            more = <Kept*> realloc(self.kept, (2 * self.kept_room + 64) * sizeof(Kept))
            if more == NULL:
                return
            self.kept, self.kept_room = more, 2 * self.kept_room + 64
        if self.kept_octets + <int64_t> size <= MOST_KEPT:
            copy = <uint8_t*> malloc(size)
        if copy == NULL:
            return
        memcpy(copy, octets, size)
        self.kept[self.kept_count] = Kept(request, sent_at, now, size, copy)
        self.kept_count += 1
        self.kept_octets += size

    cdef void failed(self, int64_t* counter) noexcept nogil:
        counter[0] += 1
        self.progress.failed += 1

    cdef tuple told(self):
        cdef int64_t index
        cdef list kept = []
        for index in range(self.kept_count):
            each = self.kept[index].octets[:self.kept[index].size]
            kept.append((self.kept[index].request, self.kept[index].sent_at, self.kept[index].answered_at, each))
        return (
            [(<uint8_t*> &self.bins[index * BUCKETS])[:BUCKETS * sizeof(uint32_t)] for index in range(self.intervals)],
            {index: self.statuses[index] for index in range(600) if self.statuses[index]},
            {name: self.ocsp_errors[number] for number, name in OCSP_ERRORS if self.ocsp_errors[number]},
            {
                "connections": self.connected,
                "octets": self.octets,
                "dropped": self.dropped,
                "refused": self.refused,
                "unreadable": self.unreadable,
                "unanswered": self.unanswered,
            },
            kept,
        )
