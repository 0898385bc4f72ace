"""What a load balancer says first on a connection: whose it is (PROXY protocol, versions 1 and 2)."""

from libc.stddef cimport size_t

from responder._native.clients cimport Address
from responder._native.der cimport Bytes

cdef enum Announced:
    PART                  # more has to come
    NAMED                 # the client
    UNNAMED               # the load balancer itself, or somebody whom it doesn't name
    WRONG

# Reads the header that `data` begins with: how many octets it has, and whose the connection is.
# Source: The PROXY protocol, versions 1 & 2 (HAProxy, 2020), §2.1, §2.2.
cdef Announced read_proxy_header(Bytes data, size_t size, size_t* used, Address* client) noexcept nogil
