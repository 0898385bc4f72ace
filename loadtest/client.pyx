# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Requests at a constant rate, whatever the answers do, or as fast as they are answered. See client.pyi."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc

from loadtest.tally cimport Progress, Tally


cdef extern from "client.h" nogil:
    ctypedef struct lc_address:
        pass
    ctypedef union epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    ctypedef void SSL
    ctypedef void SSL_CTX
    int EPOLL_CLOEXEC, LC_AGAIN, LC_ENDED
    int LC_MORE, LC_NOT_HTTP, LC_CHUNKED, LC_TO_THE_END
    int epoll_create1(int flags)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout)
    int64_t LC_GRACE, LC_DRAIN
    int64_t lc_now()
    int lc_address_of(lc_address* to, const char* text, int port)
    int lc_open(const lc_address* to, const lc_address* source)
    int lc_connected(int fd)
    int lc_watch(int epoll, int fd, uint64_t what)
    int64_t lc_size(const uint8_t* octets, size_t size, int* status, int* is_last)
    int lc_chunks_end(const uint8_t* octets, size_t size)
    int lc_ocsp_error(const uint8_t* octets, size_t size, size_t room)
    SSL* lc_tls(SSL_CTX* context, int fd, const char* name)
    int lc_shake_hands(SSL* tls)
    ssize_t lc_read(SSL* tls, int fd, uint8_t* into, size_t room)
    ssize_t lc_write(SSL* tls, int fd, const uint8_t* octets, size_t size)
    int close(int fd)
    SSL_CTX* SSL_CTX_new(const void* method)
    const void* TLS_client_method()
    void SSL_CTX_free(SSL_CTX* context)
    void SSL_free(SSL* tls)

cdef enum:
    EVENTS = 64
    ROOM = 16384               # of a response whose octets aren't kept
    SCRATCH = 262144
    MOST = 1 << 28             # octets of a response that is kept
    FEW = 1000                 # failures without one answer: nobody is there

cdef enum State:
    CLOSED
    OPENING
    IDLE
    WAITING

ctypedef struct Open:
    int fd
    State state
    SSL* tls
    int64_t due, sent_at       # nanoseconds
    size_t request
    size_t got, room
    int64_t whole              # octets of the response that comes; LC_MORE while that isn't known
    int status, is_last, is_kept
    uint8_t* octets

cdef class _Run:
    cdef Tally tally
    cdef int epoll, count, free_count, first
    cdef lc_address to
    cdef lc_address* sources
    cdef int source_count, opened
    cdef SSL_CTX* context
    cdef bytes server_name
    cdef const char* named
    cdef Open* connections
    cdef int* idle                 # a ring of those that are free, the one that is for longest at `first`
    cdef uint8_t* scratch
    cdef const uint8_t* requests
    cdef size_t* offsets
    cdef size_t different

    def __cinit__(self, Tally tally, where, requests, int connections, sources, bint tls, str server_name):
        cdef int index
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.tally, self.count = tally, connections
        self.connections = <Open*> calloc(connections, sizeof(Open))
        for index in range(connections if self.connections != NULL else 0):
            self.connections[index].fd = -1
        self.idle = <int*> calloc(connections, sizeof(int))
        self.scratch = <uint8_t*> malloc(SCRATCH)
        self.source_count = len(sources)
        self.sources = <lc_address*> calloc(max(1, self.source_count), sizeof(lc_address))
        self.offsets = <size_t*> calloc(len(requests) + 1, sizeof(size_t))
        if (self.epoll < 0 or self.connections == NULL or self.idle == NULL or self.scratch == NULL
                or self.sources == NULL or self.offsets == NULL):
            raise MemoryError
        if lc_address_of(&self.to, where[0].encode(), where[1]) < 0:
            raise ValueError(f"{where[0]}: an IP address")
        for index, source in enumerate(sources):
            if lc_address_of(&self.sources[index], source.encode(), 0) < 0:
                raise ValueError(f"{source}: an IP address")
        self.server_name = server_name.encode()
        self.named = self.server_name
        if tls:
            self.context = SSL_CTX_new(TLS_client_method())
            if self.context == NULL:
                raise MemoryError
        for index in range(connections):
            self.idle[index] = index
            self.connections[index].octets = <uint8_t*> malloc(ROOM)
            self.connections[index].room = ROOM
            if self.connections[index].octets == NULL:
                raise MemoryError
        self.free_count = connections
        self.different = len(requests)
        for index, request in enumerate(requests):
            self.offsets[index + 1] = self.offsets[index] + <size_t> len(request)

    def __dealloc__(self):
        cdef int64_t index
        if self.connections != NULL:
            for index in range(self.count):
                self.shut(&self.connections[index])
                free(self.connections[index].octets)
        free(self.connections)
        free(self.idle)
        free(self.scratch)
        free(self.sources)
        free(self.offsets)
        if self.context != NULL:
            SSL_CTX_free(self.context)
        close(self.epoll)

    cdef void shut(self, Open* connection) noexcept nogil:
        if connection.tls != NULL:
            SSL_free(connection.tls)
            connection.tls = NULL
        if connection.fd >= 0:
            close(connection.fd)
        connection.fd, connection.state = -1, State.CLOSED

    cdef void release(self, Open* connection) noexcept nogil:
        self.idle[(self.first + self.free_count) % self.count] = <int> (connection - self.connections)
        self.free_count += 1

    cdef void failed(self, Open* connection, int64_t* counter) noexcept nogil:
        """Its request has no answer."""
        self.shut(connection)
        self.release(connection)
        self.tally.failed(counter)

    cdef void begin(self, Open* connection) noexcept nogil:
        """Send its request, or open the connection for it."""
        cdef lc_address* source = NULL
        connection.got, connection.whole, connection.sent_at = 0, LC_MORE, lc_now()
        if connection.state == State.IDLE:
            self.transmit(connection)
            return
        if self.source_count:
            source = &self.sources[(connection - self.connections) % self.source_count]
        connection.fd = lc_open(&self.to, source)
        if connection.fd < 0:
            self.failed(connection, &self.tally.refused)
            return
        if self.context != NULL:
            connection.tls = lc_tls(self.context, connection.fd, self.named)
            if connection.tls == NULL:
                self.failed(connection, &self.tally.refused)
                return
        connection.state = State.OPENING
        if lc_watch(self.epoll, connection.fd, connection - self.connections) < 0:
            self.failed(connection, &self.tally.refused)

    cdef void open_further(self, Open* connection) noexcept nogil:
        cdef int done = lc_connected(connection.fd)
        if done == 0:
            return
        if done > 0 and connection.tls != NULL:
            done = lc_shake_hands(connection.tls)
            if done == LC_AGAIN:
                return
        if done != 1:
            self.failed(connection, &self.tally.refused)
            return
        self.tally.connected += 1
        self.transmit(connection)

    cdef void transmit(self, Open* connection) noexcept nogil:
        cdef const uint8_t* octets = self.requests + self.offsets[connection.request]
        cdef size_t size = self.offsets[connection.request + 1] - self.offsets[connection.request]
        cdef ssize_t sent = lc_write(connection.tls, connection.fd, octets, size)
        connection.state = State.WAITING
        if sent != <ssize_t> size:     # a request fits into the socket's buffer
            self.failed(connection, &self.tally.dropped)

    cdef int look_at_head(self, Open* connection) noexcept nogil:
        """Once the head is there: how much comes, and whether it is kept. False for what can't be read."""
        cdef uint8_t* larger
        connection.whole = lc_size(connection.octets, connection.got, &connection.status, &connection.is_last)
        if connection.whole == LC_MORE:
            return True
        if connection.whole == LC_NOT_HTTP:
            return False
        connection.is_kept = self.tally.is_next_kept(connection.whole)
        if connection.is_kept and connection.whole > <int64_t> connection.room:
            larger = <uint8_t*> realloc(connection.octets, connection.whole)
            if larger == NULL:
                connection.is_kept = False
            else:
                connection.octets, connection.room = larger, connection.whole
        return True

    cdef void take(self, Open* connection) noexcept nogil:
        """What has come on a connection that waits."""
        cdef ssize_t got
        cdef uint8_t* larger
        cdef int is_all
        while True:
            if connection.got >= connection.room and (connection.whole < 0):
                larger = <uint8_t*> realloc(connection.octets, 2 * connection.room) if connection.room < MOST else NULL
                if larger == NULL:
                    self.failed(connection, &self.tally.unreadable)
                    return
                connection.octets, connection.room = larger, 2 * connection.room
            if connection.got < connection.room:
                got = lc_read(
                    connection.tls, connection.fd, connection.octets + connection.got, connection.room - connection.got
                )
            else:
                got = lc_read(connection.tls, connection.fd, self.scratch, SCRATCH)
            if got == LC_AGAIN:
                return
            if got == LC_ENDED:
                if connection.whole == LC_TO_THE_END:
                    self.answered(connection)
                else:
                    self.failed(connection, &self.tally.dropped)
                return
            connection.got += got
            self.tally.octets += got
            if connection.whole == LC_MORE and not self.look_at_head(connection):
                self.failed(connection, &self.tally.unreadable)
                return
            if connection.whole == LC_CHUNKED:
                is_all = lc_chunks_end(connection.octets, connection.got)
            else:
                is_all = connection.whole > 0 and <int64_t> connection.got >= connection.whole
            if is_all:
                if connection.whole > 0 and <int64_t> connection.got > connection.whole:    # nobody asked for more
                    self.failed(connection, &self.tally.unreadable)
                    return
                self.answered(connection)
                return

    cdef void answered(self, Open* connection) noexcept nogil:
        cdef int64_t now = lc_now()
        cdef int ocsp_error = 0
        if connection.due >= self.tally.counts_from:
            if connection.status == 200:
                ocsp_error = lc_ocsp_error(connection.octets, connection.got, connection.room)
            self.tally.answered(now, connection.due, connection.status, ocsp_error)
            if connection.is_kept:
                self.tally.keep(connection.request, connection.sent_at, now, connection.octets, connection.got)
        if connection.is_last:
            self.shut(connection)
        else:
            connection.state = State.IDLE
        self.release(connection)

    cdef int run(self, int64_t period, int64_t spared, int64_t lasting) noexcept nogil:
        """-1 when nobody is there."""
        cdef epoll_event[EVENTS] events
        cdef Open* connection
        cdef uint64_t sent = 0
        cdef int64_t now = lc_now()
        cdef int64_t due = now
        cdef int index, count
        cdef int64_t end = now + lasting
        self.tally.begin(now + spared, end)
        while True:
            now = lc_now()
            while period and now >= end + LC_DRAIN and due < end:
                self.tally.left(now, due)
                due += period
            count = self.free_count              # one that fails at once is free again: it waits for the next turn
            while count and (now < end if period == 0 else due <= now and due < end):
                count -= 1
                self.free_count -= 1
                connection = &self.connections[self.idle[self.first]]
                self.first = (self.first + 1) % self.count
                connection.due = due if period else now
                connection.request = sent % self.different
                sent += 1
                due += period
                self.begin(connection)
            if now >= end and (period == 0 or due >= end) and (self.free_count == self.count or now > end + LC_GRACE):
                break
            if self.tally.progress.failed >= FEW and self.tally.connected == 0:
                return -1
            # Idle where there is much time: at a low rate nobody's core is taken.
            count = epoll_wait(self.epoll, events, EVENTS, 1 if period and min(due, end) - now > 3_000_000 else 0)
            for index in range(count):
                connection = &self.connections[events[index].data.u64]
                if connection.state == State.OPENING:
                    self.open_further(connection)
                if connection.state == State.WAITING:
                    self.take(connection)
                elif connection.state == State.IDLE:
                    if lc_read(connection.tls, connection.fd, self.scratch, SCRATCH) != LC_AGAIN:
                        self.shut(connection)    # it is opened again for its next request
        for index in range(self.count):
            connection = &self.connections[index]
            if connection.state >= State.OPENING and connection.state != State.IDLE:
                self.tally.left(now, connection.due)
        return 0


def ask(
    where, requests, *, double rate, double seconds, double spared, int connections, sources=(), bint tls=False,
    str server_name="", int intervals=1, int64_t every=0, Progress progress=None,
):
    cdef list given = list(requests)
    cdef bytes all_of_them = b"".join(given)
    cdef int64_t period = <int64_t> (1e9 / rate) if rate else 0
    cdef int64_t spare = <int64_t> (spared * 1e9)
    cdef int64_t lasting = <int64_t> (seconds * 1e9)
    cdef int done
    cdef _Run run
    if not 0 <= rate <= 1e7 or not 0 < seconds <= 600 or not 0 <= spared < seconds:
        raise ValueError(f"{rate} a second for {seconds} s, of which {spared} s aren't counted")
    if not given or not all(given) or not 1 <= connections <= 65536 or not 1 <= intervals <= 10_000 or every < 0:
        raise ValueError(f"{len(given)} requests, {connections} connections, {intervals} intervals, one of {every} kept")
    run = _Run(Tally(intervals, every, progress or Progress()), where, given, connections, sources, tls, server_name)
    run.requests = all_of_them
    with nogil:
        done = run.run(period, spare, lasting)
    if done < 0:
        raise OSError(f"nobody answers at {where[0]} port {where[1]}, or an address to ask from isn't of this machine")
    return run.tally.told()
