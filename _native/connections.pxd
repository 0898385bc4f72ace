"""The connections of a process: places for them, who has been idle longest, what is unsent."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from responder._native.clients cimport Address, Networks
from responder._native.counts cimport Counts
from responder._native.der cimport Bytes
from responder._native.gate cimport Gate

cdef enum Stage:
    NEW
    FETCHED               # what it is of was looked for beyond the table
    MADE                  # and signed
    DUE                   # it waits in the lane for its signature

ctypedef struct Connection:
    int fd                # -1: a free place
    uint32_t generation   # of the place, so that what comes late meets nobody else
    Address peer
    bint is_counted       # among its client's
    bint is_announced     # its load balancer has still to say whose it is
    Stage stage           # of the present request; beyond the first it is paid for
    bint waiting          # for the chain, or for a signature: nothing is read before its reply, so answers keep their order
    bint closing          # nothing more is answered; until the client has closed too
    int64_t active        # CLOCK_MONOTONIC: accepted, or the present request or its body began, or it was answered
    int older             # all connections, by that
    int newer             # and the next free place
    uint8_t* kept         # what came of a request so far, and what followed one that waits
    size_t kept_size
    bint has_head         # what is kept begins with a whole head
    uint8_t* unsent
    size_t unsent_at
    size_t unsent_size
    size_t progress       # octets sent since it was active
    Bytes body            # after that: a part of what `bodies` holds
    size_t body_size


cdef inline bint has_unsent(const Connection* connection) noexcept nogil:
    return connection.unsent_size or connection.body_size


cdef class Connections:
    cdef readonly int epoll
    cdef readonly int open_connections
    cdef Gate gate
    cdef Networks announced  # load balancers that say whose each connection is
    cdef Counts* counts
    cdef int a_client
    cdef int64_t request     # how long one, or its body, may take to come
    cdef bint draining
    cdef int listener
    cdef bint accepts
    cdef int64_t idle
    cdef int room
    cdef Connection* places
    cdef int free_place
    cdef int oldest
    cdef int newest
    cdef dict bodies         # large ones that are being sent, by token
    cdef bint bodies_done    # some may be let go
    cdef int64_t now         # nanoseconds since 1970, of this turn
    cdef int64_t monotonic
    cdef void tick(self) noexcept nogil
    cdef Connection* connection_of(self, uint64_t token) noexcept nogil
    cdef uint64_t token_of(self, const Connection* connection) noexcept nogil
    cdef bint accept_some(self) noexcept nogil
    # Whether a client has as many connections as it may.
    cdef bint has_too_many(self, const Address* client) noexcept nogil
    cdef void count_client(self, Connection* connection) noexcept nogil
    cdef let_go(self)
    cdef void keep(self, Connection* connection, Bytes data, size_t size) noexcept nogil
    cdef void forget(self, Connection* connection) noexcept nogil
    cdef void append(self, Connection* connection) noexcept nogil
    cdef void unlink(self, Connection* connection) noexcept nogil
    cdef void touch(self, Connection* connection) noexcept nogil
    cdef void drop_idle(self) noexcept nogil
    cdef void drop_slow(self) noexcept nogil
    cdef bint make_room(self) noexcept nogil
    cdef void release(self, Connection* connection) noexcept nogil
    cdef void drop(self, Connection* connection) noexcept nogil
    cdef void stop_accepting(self) noexcept nogil
    cdef void resume_accepting(self) noexcept nogil
