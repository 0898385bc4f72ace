"""What connections are sent."""

from libc.stddef cimport size_t

from responder._native.connections cimport Connection, Connections
from responder._native.der cimport Bytes


cdef class Sending(Connections):
    cdef void transmit(self, Connection* connection, Bytes data, size_t size) noexcept nogil
    cdef attach(self, Connection* connection, bytes body, size_t start)
    cdef bint send_rest(self, Connection* connection) noexcept nogil
    cdef void end(self, Connection* connection) noexcept nogil
