"""What connections are sent: at once, or when their sockets have room for it; large bodies from where they are, a share of
each in a turn, so that whoever reads fast keeps nobody waiting, and whoever doesn't has little of it in the kernel.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from responder._native.connections cimport has_unsent
from responder._native.sockets cimport MSG_NOSIGNAL, SHUT_WR, WATCHED, cs_keep_little, cs_rouse, send, shutdown

cdef enum:
    PROGRESS = 65536      # octets that a client must take in the time in which an idle one is closed
    SHARE = 131072        # octets of a body in one turn


cdef class Sending(Connections):
    cdef void transmit(self, Connection* connection, Bytes data, size_t size) noexcept nogil:
        """Now what the socket has room for, the rest when it has again."""
        cdef ssize_t sent = 0
        cdef uint8_t* more
        if not has_unsent(connection):
            sent = send(connection.fd, data, size, MSG_NOSIGNAL)
            if sent == <ssize_t> size:
                return
            if sent < 0 and errno != EAGAIN and errno != EINTR:
                self.drop(connection)
                return
            sent = max(sent, <ssize_t> 0)
        more = <uint8_t*> malloc(connection.unsent_size + size - sent)
        if more == NULL:
            self.drop(connection)
            return
        memcpy(more, connection.unsent + connection.unsent_at, connection.unsent_size)
        memcpy(more + connection.unsent_size, data + sent, size - sent)
        free(connection.unsent)
        connection.unsent, connection.unsent_at = more, 0
        connection.unsent_size += size - sent

    cdef attach(self, Connection* connection, bytes body, size_t start):
        """Send a large body from `start` on, after what was transmitted; it isn't copied, however slowly it is read."""
        self.bodies[self.token_of(connection)] = body
        connection.body = <Bytes> body + start
        connection.body_size = len(body) - start
        with nogil:
            cs_keep_little(connection.fd, PROGRESS)
            self.send_rest(connection)

    cdef bint send_rest(self, Connection* connection) noexcept nogil:
        """Whether nothing is left to send, and the connection is there still. Others have their turn after a share."""
        cdef ssize_t sent
        cdef size_t together = 0
        while has_unsent(connection):
            if together >= SHARE:
                cs_rouse(self.epoll, connection.fd, self.token_of(connection), WATCHED)
                return False
            if connection.unsent_size:
                sent = send(
                    connection.fd, connection.unsent + connection.unsent_at, connection.unsent_size, MSG_NOSIGNAL
                )
            else:
                sent = send(connection.fd, connection.body, min(connection.body_size, <size_t> SHARE), MSG_NOSIGNAL)
            if sent < 0 and errno == EINTR:
                continue
            if sent < 0 and errno == EAGAIN:
                return False
            if sent < 0:
                self.drop(connection)
                return False
            together += <size_t> sent
            connection.progress += <size_t> sent
            if connection.progress >= PROGRESS:
                self.touch(connection)
            if connection.unsent_size:
                connection.unsent_at += sent
                connection.unsent_size -= sent
            else:
                connection.body += sent
                connection.body_size -= sent
                self.bodies_done = self.bodies_done or connection.body_size == 0
        free(connection.unsent)
        connection.unsent, connection.unsent_at = NULL, 0
        self.touch(connection)
        if connection.closing:
            shutdown(connection.fd, SHUT_WR)
        return True

    cdef void end(self, Connection* connection) noexcept nogil:
        """Nothing is answered any more; closed when the client has closed too, or has been idle for too long."""
        self.forget(connection)
        connection.closing = True
        if not has_unsent(connection):
            shutdown(connection.fd, SHUT_WR)
