"""The lane: what the table or a page holds is answered in turns without the GIL (`turns.pyx`); what only the chain knows
is asked together at the end of a turn; chunked and large bodies and other methods are handed over with their connection.

The descriptor of the epoll is readable when something is ready, so an event loop watches just that.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from responder._native.answer cimport MAX_RESPONSE
from responder._native.connections cimport MADE, Connection
from responder._native.der cimport Bytes
from responder._native.mail cimport LOOKED_FOR, MISSING
from responder._native.pages cimport Page
from responder._native.sockets cimport CLOCK_MONOTONIC, EPOLLET, EPOLLIN, QUEUE, cs_rouse, cs_time
from responder._native.turns cimport Turns

cdef int64_t BREATH = 500000      # of Python's time, before what the table has is answered again

cdef enum:
    ROUNDS = 16           # of events, before Python has its turn


@cython.final
cdef class Lane(Turns):
    cdef object ask
    cdef object fetch
    cdef object hand_over
    cdef int64_t turned      # CLOCK_MONOTONIC

    def __cinit__(self, int listener, *, ask, fetch, hand_over, **_):
        self.ask, self.fetch, self.hand_over = ask, fetch, hand_over

    def on_ready(self):
        cdef int round_, events
        with nogil:
            for round_ in range(ROUNDS):
                events = self.turn()
                if not self.sign_next() and events <= 0:
                    break
            self.turned = self.monotonic
        self.after_turn()

    def breathe(self):
        if cs_time(CLOCK_MONOTONIC) - self.turned > BREATH:
            self.on_ready()

    def reply(self, uint64_t token, bytes head not None, bytes body not None, bint closes, /):
        cdef Connection* connection = self.connection_of(token)
        cdef size_t size = len(head)
        cdef size_t copied = min(<size_t> len(body), MAX_RESPONSE - size)
        if size > MAX_RESPONSE:
            raise ValueError(f"a head of {size} octets is more than {MAX_RESPONSE}")
        self.gate.under_way -= 1
        if connection == NULL or not connection.waiting:
            return
        memcpy(self.answer, <Bytes> head, size)
        memcpy(self.answer + size, <Bytes> body, copied)
        with nogil:
            self.tick()
            connection.waiting = False
            self.touch(connection)
            self.transmit(connection, self.answer, size + copied)
        if connection.fd >= 0 and copied < <size_t> len(body):
            self.attach(connection, body, copied)
        with nogil:
            if connection.fd >= 0 and closes:
                self.end(connection)
            if connection.fd >= 0:
                self.go_on(connection)
        self.after_turn()

    def resume(self, list tokens not None, list made not None, /):
        cdef Connection* connection
        cdef uint64_t token
        cdef bint is_made
        for token, is_made in zip(tokens, made, strict=True):
            self.gate.under_way -= 1
            connection = self.connection_of(token)
            if connection != NULL and connection.waiting:
                with nogil:
                    self.tick()
                    connection.waiting = False
                    if is_made:
                        connection.stage = MADE
                    self.go_on(connection)
        self.after_turn()

    def close(self):
        self.threads.close()
        Turns.close(self)

    cdef after_turn(self):
        """Give what was found to Python: questions all together, and what is missing."""
        cdef list asked, missing
        if self.bodies_done:
            self.let_go()
        while self.mail.first != NULL:
            asked, missing = [], []
            for token, fd, octets, page, closes in self.mail.take():
                if page is not None:
                    self.send_body(token, page, closes)
                elif fd >= 0:
                    self.hand_over(fd, octets)
                elif fd == MISSING:
                    missing.append((token, octets))
                else:
                    asked.append((token, octets, closes, fd == LOOKED_FOR))
            if asked:
                self.ask(asked)
            if missing:
                self.fetch(missing)
        if self.queue.count:
            cs_rouse(self.epoll, self.rouser, QUEUE, EPOLLIN | EPOLLET)

    cdef send_body(self, uint64_t token, Page page, bint closes):
        """After the head, which has been sent."""
        cdef Connection* connection = self.connection_of(token)
        if connection == NULL:
            return
        connection.waiting = False
        self.attach(connection, page.held[1], 0)
        with nogil:
            if connection.fd >= 0 and closes:
                self.end(connection)
            if connection.fd >= 0:
                self.go_on(connection)
