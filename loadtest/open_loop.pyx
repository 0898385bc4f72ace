# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Requests at a constant rate, whatever the answers do. See open_loop.pyi."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free


cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <strings.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    static inline int64_t ol_now(void)
    { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    static inline int ol_watch(int epoll, int fd, uint64_t what)
    { struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.u64 = what};
      return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e); }
    /* How long the response is that begins here, 0 when its head isn't whole, -1 for what isn't a 200 with a length. */
    static inline int64_t ol_size(const uint8_t *octets, size_t size)
    {
        const uint8_t *end = memmem(octets, size, "\\r\\n\\r\\n", 4), *at;
        int64_t length = 0;
        if (!end) return 0;
        if (memcmp(octets, "HTTP/1.1 200 ", 13)) return -1;
        for (at = octets; at + 16 < end; at++)
            if (*at == '\\n' && !strncasecmp((const char *) at + 1, "content-length:", 15)) break;
        if (at + 16 >= end) return -1;
        for (at += 16; *at == ' '; at++) {}
        for (; *at >= '0' && *at <= '9'; at++) length = 10 * length + *at - '0';
        return end + 4 - octets + length;
    }
    """
    ctypedef union epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    int EPOLL_CLOEXEC, MSG_NOSIGNAL, MSG_DONTWAIT
    int epoll_create1(int flags)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout)
    int ol_watch(int epoll, int fd, uint64_t what)
    int64_t ol_now()
    int64_t ol_size(const uint8_t* octets, size_t size)
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int close(int fd)

cdef enum:
    EVENTS = 64
    ROOM = 65536               # of a response
    BINS = 4_000_000           # of a microsecond

ctypedef struct Open:
    int fd
    int64_t due                # when its request was to be sent
    size_t got
    uint8_t[ROOM] octets


cdef class _Run:
    cdef int epoll
    cdef Open* connections
    cdef int* idle
    cdef uint32_t* bins
    cdef list sockets

    def __cinit__(self, sockets):
        self.sockets = list(sockets)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.connections = <Open*> calloc(len(self.sockets), sizeof(Open))
        self.idle = <int*> calloc(len(self.sockets), sizeof(int))
        self.bins = <uint32_t*> calloc(BINS, sizeof(uint32_t))
        if self.epoll < 0 or self.connections == NULL or self.idle == NULL or self.bins == NULL:
            raise MemoryError
        for index, each in enumerate(self.sockets):
            self.connections[index].fd = each.fileno()
            self.idle[index] = index
            if ol_watch(self.epoll, self.connections[index].fd, index) < 0:
                raise OSError(errno, "epoll_ctl")

    def __dealloc__(self):
        free(self.connections)
        free(self.idle)
        free(self.bins)
        close(self.epoll)

    cdef int64_t run(
        self, const uint8_t* requests, size_t size, int64_t different, int64_t period, int64_t spared, int64_t lasting,
        int all_count,
    ) noexcept nogil:
        """How many were answered in time to be counted; -1 when something else than an answer came."""
        cdef epoll_event[EVENTS] events
        cdef Open* connection
        cdef int free_count = all_count
        cdef int first = 0             # of those that are free: the one that is for longest
        cdef int64_t sent = 0
        cdef int64_t start = ol_now()
        cdef int64_t due = start
        cdef int64_t end = start + lasting
        cdef int64_t counted = 0
        cdef int64_t now, whole
        cdef int index, count
        cdef ssize_t got
        while True:
            now = ol_now()
            while now >= end and due < end:
                if due >= start + spared:      # it has waited until now, and isn't answered
                    self.bins[min((now - due) // 1000, <int64_t> BINS - 1)] += 1
                due += period
            while due <= now and due < end and free_count:
                free_count -= 1
                connection = &self.connections[self.idle[first]]
                first = (first + 1) % all_count
                connection.due, connection.got = due, 0
                if send(connection.fd, requests + sent % different * size, size, MSG_NOSIGNAL) != <ssize_t> size:
                    return -1
                sent += 1
                due += period
            if due >= end and free_count == all_count:
                return counted
            if now > end + 5 * <int64_t> 1000000000:
                return -1
            count = epoll_wait(self.epoll, events, EVENTS, 0)
            for index in range(count):
                connection = &self.connections[events[index].data.u64]
                while True:
                    got = recv(connection.fd, connection.octets + connection.got, ROOM - connection.got, MSG_DONTWAIT)
                    if got < 0 and errno == EINTR:
                        continue
                    break
                if got < 0 and errno == EAGAIN:
                    continue
                if got <= 0:
                    return -1
                connection.got += got
                whole = ol_size(connection.octets, connection.got)
                if whole < 0 or whole > ROOM or (whole and <int64_t> connection.got > whole):
                    return -1
                if whole == 0 or <int64_t> connection.got < whole:
                    continue
                if connection.due >= start + spared:
                    now = ol_now()
                    self.bins[min((now - connection.due) // 1000, <int64_t> BINS - 1)] += 1
                    counted += 1
                self.idle[(first + free_count) % all_count] = <int> (connection - self.connections)
                free_count += 1

    cdef list percentiles(self, object wanted):
        cdef int64_t total = 0
        cdef int64_t seen = 0
        cdef int64_t bin_
        cdef list found = []
        cdef list targets
        for bin_ in range(BINS):
            total += self.bins[bin_]
        targets = [max(1, int(total * fraction)) for fraction in wanted]
        bin_ = 0
        for target in targets:
            while seen < target:
                seen += self.bins[bin_]
                bin_ += 1
            found.append(bin_)
        return found


def at_rate(sockets, requests, *, double rate, double seconds, double spared, percentiles):
    cdef _Run run = _Run(sockets)
    cdef list given = list(requests)
    cdef bytes all_of_them = b"".join(given)
    cdef const uint8_t* octets = all_of_them
    cdef size_t size = len(given[0])
    cdef int64_t different = len(given)
    cdef int64_t period = <int64_t> (1e9 / rate)
    cdef int64_t spare = <int64_t> (spared * 1e9)
    cdef int64_t lasting = <int64_t> (seconds * 1e9)
    cdef int64_t counted
    cdef int count = <int> len(run.sockets)
    if not 1 <= rate <= 1e7 or not 0 < seconds <= 600 or not 0 <= spared < seconds:
        raise ValueError(f"{rate} a second for {seconds} s, of which {spared} s aren't counted")
    if any(len(each) != size for each in given):
        raise ValueError("requests of one size")
    if list(percentiles) != sorted(percentiles):
        raise ValueError("percentiles in ascending order")
    with nogil:
        counted = run.run(octets, size, different, period, spare, lasting, count)
    if counted < 0:
        raise RuntimeError("an answer that isn't a 200 of at most 65,536 octets, a connection that ended, or none for 5 s")
    return counted, run.percentiles(percentiles)
