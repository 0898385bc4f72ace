"""Connections of a process on an epoll of their own: accepted, kept in the order in which they were active, sent to, and
closed. Events are edges, so whoever pauses reading reads again when the pause is over.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from responder._native.clients cimport Address
from responder._native.counts cimport change_count, count_of
from responder._native.der cimport Bytes
from responder._native.sockets cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, EPOLL_CLOEXEC, EPOLLIN, LISTENER, WATCHED, close, cs_accept, cs_leave, cs_time,
    cs_watch, epoll_create1,
)

import os
cdef enum:
    ACCEPTS = 64          # at an event of the listener
    LOOKS = 16            # for an idle connection to close, when there is no room

cdef int64_t SECOND = 1000000000
cdef int64_t RESTING = SECOND     # since its last answer: a client that asks again and again has done so by then


cdef class Connections:
    def __cinit__(
        self, int listener, *, Gate gate not None, Networks announced not None, int connections,
        int connections_a_client, double idle_seconds, double request_seconds, **_
    ):
        cdef int place
        cdef bytes key = os.urandom(sizeof(self.counts.key))
        self.gate, self.announced, self.listener, self.room = gate, announced, listener, connections
        self.idle = <int64_t> (idle_seconds * SECOND)
        self.request, self.a_client = <int64_t> (request_seconds * SECOND), connections_a_client
        self.oldest = self.newest = self.free_place = -1
        self.bodies = {}
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "no epoll")
        if connections < 1:
            raise ValueError(f"{connections} connections are too few")
        self.places = <Connection*> calloc(connections, sizeof(Connection))
        self.counts = <Counts*> calloc(1, sizeof(Counts))
        if self.places == NULL or self.counts == NULL:
            raise MemoryError
        memcpy(self.counts.key, <Bytes> key, sizeof(self.counts.key))
        for place in range(connections - 1, -1, -1):
            self.places[place].fd = -1
            self.places[place].newer = self.free_place
            self.free_place = place
        self.tick()
        self.resume_accepting()

    def __dealloc__(self):
        self.listener = -1
        while self.oldest >= 0:
            self.drop(&self.places[self.oldest])
        free(self.places)
        free(self.counts)
        if self.epoll >= 0:
            close(self.epoll)

    def expire(self):
        with nogil:
            self.tick()
            self.drop_idle()
            self.drop_slow()
            if self.free_place >= 0:
                self.resume_accepting()
        self.let_go()

    def drain(self):
        with nogil:
            self.tick()
            while self.accepts and self.accept_some():   # those that have come already
                pass
        self.stop_accepting()
        self.listener = -1
        self.draining = True

    def stop(self):
        cdef int place, newer
        self.drain()
        place = self.oldest
        while place >= 0:
            newer = self.places[place].newer
            if not self.places[place].waiting and not has_unsent(&self.places[place]):
                self.drop(&self.places[place])
            place = newer

    def close(self):
        self.stop_accepting()
        self.listener = -1
        while self.oldest >= 0:
            self.drop(&self.places[self.oldest])
        self.let_go()

    cdef void tick(self) noexcept nogil:
        self.now, self.monotonic = cs_time(CLOCK_REALTIME), cs_time(CLOCK_MONOTONIC)

    cdef Connection* connection_of(self, uint64_t token) noexcept nogil:
        cdef Connection* connection
        if <uint64_t> <uint32_t> token >= <uint64_t> self.room:
            return NULL
        connection = &self.places[<uint32_t> token]
        return connection if connection.fd >= 0 and connection.generation == token >> 32 else NULL

    cdef uint64_t token_of(self, const Connection* connection) noexcept nogil:
        return <uint64_t> connection.generation << 32 | <uint64_t> (connection - self.places)

    cdef bint accept_some(self) noexcept nogil:
        """Whether there may be more."""
        cdef int fd, attempt
        cdef Address peer
        cdef bint is_announced
        cdef Connection* connection
        for attempt in range(ACCEPTS):
            if self.free_place < 0:
                if attempt:
                    return False        # whether there are more, the next turn says
                if not self.make_room():
                    self.stop_accepting()   # those who wait are taken when somebody has gone
                    return False
            fd = cs_accept(self.listener, peer.octets)
            if fd < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.stop_accepting()   # no descriptors, as a rule: `expire` tries again
                return False
            is_announced = self.announced.has(&peer)
            if not is_announced and self.has_too_many(&peer):
                close(fd)
                continue
            connection = &self.places[self.free_place]
            self.free_place = connection.newer
            connection.fd, connection.peer = fd, peer
            connection.is_announced, connection.is_counted = is_announced, False
            connection.waiting, connection.closing, connection.has_head, connection.stage = False, False, False, NEW
            if not is_announced:
                self.count_client(connection)
            connection.active = self.monotonic
            self.append(connection)
            self.open_connections += 1
            if cs_watch(self.epoll, fd, self.token_of(connection), WATCHED) < 0:
                self.drop(connection)
        return True

    cdef bint has_too_many(self, const Address* client) noexcept nogil:
        if self.gate.spares(client) or count_of(self.counts, client) < self.a_client:
            return False
        self.gate.count(self.gate.words.too_many)
        return True

    cdef void count_client(self, Connection* connection) noexcept nogil:
        connection.is_counted = not self.gate.spares(&connection.peer)
        change_count(self.counts, &connection.peer, connection.is_counted)

    cdef let_go(self):
        """Of bodies that were sent, or whose client has gone."""
        cdef Connection* connection
        self.bodies_done = False
        for token in list(self.bodies):
            connection = self.connection_of(token)
            if connection == NULL or connection.body_size == 0:
                del self.bodies[token]

    # --- places

    cdef void keep(self, Connection* connection, Bytes data, size_t size) noexcept nogil:
        cdef uint8_t* copy = <uint8_t*> malloc(size)
        if copy == NULL:
            self.drop(connection)
            return
        memcpy(copy, data, size)
        self.forget(connection)
        connection.kept, connection.kept_size = copy, size

    cdef void forget(self, Connection* connection) noexcept nogil:
        free(connection.kept)
        connection.kept, connection.kept_size = NULL, 0

    cdef void append(self, Connection* connection) noexcept nogil:
        cdef int place = <int> (connection - self.places)
        connection.older, connection.newer = self.newest, -1
        if self.newest >= 0:
            self.places[self.newest].newer = place
        else:
            self.oldest = place
        self.newest = place

    cdef void unlink(self, Connection* connection) noexcept nogil:
        if connection.older >= 0:
            self.places[connection.older].newer = connection.newer
        else:
            self.oldest = connection.newer
        if connection.newer >= 0:
            self.places[connection.newer].older = connection.older
        else:
            self.newest = connection.older

    cdef void touch(self, Connection* connection) noexcept nogil:
        connection.active, connection.progress = self.monotonic, 0
        if self.newest != <int> (connection - self.places):
            self.unlink(connection)
            self.append(connection)

    cdef void drop_idle(self) noexcept nogil:
        while self.oldest >= 0 and self.monotonic - self.places[self.oldest].active > self.idle:
            self.drop(&self.places[self.oldest])

    cdef void drop_slow(self) noexcept nogil:
        """Those whose request, or the end of whose connection, is still to come from the client; and while no new ones
        are taken, those that have nothing to ask."""
        cdef Connection* connection
        cdef int place = self.oldest
        cdef int64_t limit = min(self.request, RESTING) if self.draining else self.request
        cdef int64_t age
        while place >= 0:
            connection = &self.places[place]
            age = self.monotonic - connection.active
            if age <= limit:
                return
            place = connection.newer
            if connection.waiting or has_unsent(connection) or (connection.kept_size and age <= self.request):
                continue
            if connection.kept_size:
                self.gate.count(self.gate.words.slow)
            if connection.kept_size or connection.closing or self.draining:
                self.drop(connection)

    cdef bint make_room(self) noexcept nogil:
        """Close the connection that has been idle for longest, if there is one among the oldest."""
        cdef Connection* connection
        cdef int place = self.oldest
        cdef int look
        for look in range(LOOKS):
            if place < 0:
                return False
            connection = &self.places[place]
            if not connection.waiting and not connection.kept_size and not has_unsent(connection):
                self.gate.count(self.gate.words.crowded)
                self.drop(connection)
                return True
            place = connection.newer
        return False

    cdef void release(self, Connection* connection) noexcept nogil:
        """Free the place; the descriptor is closed, or somebody else's."""
        self.unlink(connection)
        self.forget(connection)
        free(connection.unsent)
        connection.unsent, connection.unsent_at, connection.unsent_size = NULL, 0, 0
        self.bodies_done = self.bodies_done or connection.body_size != 0
        connection.body, connection.body_size = NULL, 0
        if connection.is_counted:
            change_count(self.counts, &connection.peer, -1)
        connection.fd = -1
        connection.generation += 1
        connection.newer = self.free_place
        self.free_place = <int> (connection - self.places)
        self.open_connections -= 1
        self.resume_accepting()

    cdef void drop(self, Connection* connection) noexcept nogil:
        close(connection.fd)
        self.release(connection)

    cdef void stop_accepting(self) noexcept nogil:
        if self.accepts:
            cs_leave(self.epoll, self.listener)
            self.accepts = False

    cdef void resume_accepting(self) noexcept nogil:
        if self.listener >= 0 and not self.accepts:
            self.accepts = cs_watch(self.epoll, self.listener, LISTENER, EPOLLIN) == 0
