"""Turns of the lane: what is done without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from responder._native.answer cimport MAX_RESPONSE
from responder._native.connections cimport Connection
from responder._native.der cimport Bytes, Out
from responder._native.framing cimport MAX_HEAD, Head
from responder._native.mail cimport Mail
from responder._native.pages cimport Pages
from responder._native.queue cimport Queue
from responder._native.sending cimport Sending
from responder._native.signing_threads cimport SigningThreads
from responder._native.site cimport Site

cdef enum:
    BUFFER = 65536        # what one recv may bring, beyond what was kept of a request
    BATCH = 131072        # of answers to requests that came together
    MAX_BODY = 16384      # of a request that is answered here or by the chain


cdef class Turns(Sending):
    cdef Site site
    cdef Mail mail
    cdef Queue queue         # whose signature is due here
    cdef SigningThreads threads
    cdef int rouser          # has an event while that isn't empty, and others had their turn
    cdef bint fetches        # what the table doesn't have may be looked for
    cdef uint8_t[BUFFER + MAX_HEAD + MAX_BODY] input
    cdef uint8_t[MAX_RESPONSE] answer
    cdef uint8_t[BATCH] batch
    cdef int turn(self) noexcept nogil
    cdef bint sign_next(self) noexcept nogil
    cdef void take_signed(self) noexcept nogil
    # Have its signature made, by this lane or by a thread. False where there is no memory.
    cdef bint have_signed(self, Connection* connection) noexcept nogil
    cdef void receive(self, Connection* connection, bint ending) noexcept nogil
    cdef void go_on(self, Connection* connection) noexcept nogil
    # What is left of `data` behind what the load balancer says; NULL: nothing yet, or the connection has ended.
    cdef Bytes hear(self, Connection* connection, Bytes data, size_t* size) noexcept nogil
    cdef void take(self, Connection* connection, Bytes data, size_t size) noexcept nogil
    cdef bint gather(self, Connection* connection, const Out* out, size_t* gathered, bint is_last) noexcept nogil
    cdef bint settle(self, Connection* connection, const Head* head, Bytes data, size_t whole, Out* out) noexcept nogil
    cdef void give_away(self, Connection* connection, Bytes octets, size_t size) noexcept nogil
