"""The lane: what the table holds is answered in one turn without the GIL; what only the chain knows is asked together at the
end of the turn, and what isn't one of the plain shapes of HTTP is handed over with its connection.

The descriptor of the epoll is readable when something is ready, so an event loop watches just that.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from responder._native cimport der, get_path, http
from responder._native.answer cimport ANSWERED, MAX_RESPONSE, Responder
from responder._native.connections cimport Connection, Connections
from responder._native.der cimport Bytes, Out
from responder._native.sockets cimport (
    EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, LISTENER, close, cs_leave, epoll_event, epoll_wait, recv,
)

cdef enum:
    EVENTS = 256
    ROUNDS = 16           # of events, before Python has its turn
    BUFFER = 65536        # what one recv may bring, beyond what was kept of a request
    BATCH = 131072        # of answers to requests that came together

# What Python is told at the end of a turn: a request for the chain, or (with a descriptor) a connection to take over.
ctypedef struct Told:
    Told* next
    uint64_t token
    int fd
    size_t size
    uint8_t[1] octets     # as many as `size`


@cython.final
cdef class Lane(Connections):
    cdef Responder responder
    cdef object ask
    cdef object hand_over
    cdef Told* first_told
    cdef Told** last_told
    cdef uint8_t[BUFFER + http.MAX_HEAD + http.MAX_BODY] input
    cdef uint8_t[MAX_RESPONSE] answer
    cdef uint8_t[BATCH] batch
    cdef uint8_t[get_path.MAX_TARGET] text
    cdef uint8_t[get_path.MAX_TARGET] found

    def __cinit__(self, int listener, *, Responder responder not None, ask, hand_over, connections, idle_seconds):
        self.responder, self.ask, self.hand_over = responder, ask, hand_over
        self.first_told = NULL
        self.last_told = &self.first_told

    def __dealloc__(self):
        cdef Told* told
        while self.first_told != NULL:
            told = self.first_told
            self.first_told = told.next
            if told.fd >= 0:
                close(told.fd)
            free(told)

    def on_ready(self):
        cdef int round_
        with nogil:
            for round_ in range(ROUNDS):
                if self.turn() <= 0:
                    break
        if self.first_told != NULL:
            self.tell()

    def reply(self, uint64_t token, bytes response not None, bint closes, /):
        cdef Connection* connection = self.connection_of(token)
        cdef const uint8_t* octets = response
        cdef size_t size = len(response)
        if connection == NULL or not connection.waiting:
            return
        with nogil:
            self.tick()
            connection.waiting = False
            self.touch(connection)
            self.transmit(connection, octets, size)
            if connection.fd >= 0 and closes:
                self.end(connection)
            if connection.fd >= 0:
                self.go_on(connection)
        if self.first_told != NULL:
            self.tell()

    cdef tell(self):
        """Give what this turn has found to Python: questions all together."""
        cdef Told* told = self.first_told
        cdef Told* done
        cdef list asked = []
        cdef list handed = []
        self.first_told = NULL
        self.last_told = &self.first_told
        while told != NULL:
            octets = <bytes> told.octets[:told.size]
            if told.fd >= 0:
                handed.append((told.fd, octets))
            else:
                asked.append((told.token, octets))
            done = told
            told = told.next
            free(done)
        for fd, octets in handed:
            self.hand_over(fd, octets)
        if asked:
            self.ask(asked)

    # --- one turn, without the GIL

    cdef int turn(self) noexcept nogil:
        cdef epoll_event[EVENTS] events
        cdef int count = epoll_wait(self.epoll, events, EVENTS, 0)
        cdef int index
        cdef uint32_t what
        cdef Connection* connection
        self.tick()
        for index in range(count):
            what = events[index].events
            if events[index].data.u64 == LISTENER:
                self.accept_some()
                continue
            connection = self.connection_of(events[index].data.u64)
            if connection == NULL:
                continue
            if connection.unsent_size and what & (EPOLLOUT | EPOLLHUP | EPOLLERR):
                if self.send_rest(connection):
                    self.go_on(connection)
            elif what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self.receive(connection, what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0)
        self.drop_idle()
        return count

    cdef void receive(self, Connection* connection, bint ending) noexcept nogil:
        """Take what has come. A recv that brings less than it might has taken all; the end of the stream is an edge."""
        cdef ssize_t got
        cdef size_t kept
        while connection.fd >= 0 and not connection.waiting and not connection.unsent_size:
            kept = connection.kept_size
            got = recv(connection.fd, self.input + kept, BUFFER, 0)
            if got < 0 and errno == EINTR:
                continue
            if got < 0 and errno == EAGAIN:
                return
            if got <= 0:
                self.drop(connection)
                return
            if not connection.closing:
                if kept:
                    memcpy(self.input, connection.kept, kept)
                    self.forget(connection)
                else:
                    self.touch(connection)   # a request begins; that it goes on is no reason to wait longer
                self.take(connection, self.input, kept + <size_t> got)
            if got < BUFFER and not ending:
                return

    cdef void go_on(self, Connection* connection) noexcept nogil:
        """After a pause: what was kept, then what has come meanwhile, of which the edge is over."""
        cdef uint8_t* kept = connection.kept
        cdef size_t size = connection.kept_size
        if connection.waiting or connection.unsent_size:
            return
        if size:
            connection.kept, connection.kept_size = NULL, 0
            self.take(connection, kept, size)
            free(kept)
        if connection.fd >= 0:
            self.receive(connection, True)

    cdef void take(self, Connection* connection, Bytes data, size_t size) noexcept nogil:
        """Answer the requests in `data`, in their order; keep what is left."""
        cdef http.Head head
        cdef http.Shape shape = http.PART
        cdef Out out
        cdef size_t whole, answered
        cdef size_t gathered = 0
        cdef bint closes = False
        while size and not connection.waiting and not closes:
            shape = http.recognise(data, size, &head)
            if shape != http.WHOLE:
                break
            whole = head.size + head.body_size
            out = der.writer(self.answer, MAX_RESPONSE)
            if self.answers(&head, data, &out):
                answered = der.written(&out, self.answer + MAX_RESPONSE)
                if gathered + answered > BATCH:
                    self.transmit(connection, self.batch, gathered)
                    gathered = 0
                    if connection.fd < 0:
                        return
                if gathered == 0 and size == whole:
                    self.transmit(connection, out.position, answered)
                else:
                    memcpy(self.batch + gathered, out.position, answered)
                    gathered += answered
            elif self.note(self.token_of(connection), -1, data, whole):
                connection.waiting = True
            else:
                self.drop(connection)
                return
            closes = head.closes
            data += whole
            size -= whole
        if gathered:
            self.transmit(connection, self.batch, gathered)
        if connection.fd < 0:
            return
        if closes and not connection.waiting:
            self.end(connection)
        elif size and (shape != http.OTHER or connection.waiting or connection.unsent_size):
            self.keep(connection, data, size)
        elif size:
            self.give_away(connection, data, size)

    cdef bint answers(self, const http.Head* head, Bytes data, Out* out) noexcept nogil:
        """Whether the table has the answer to a plain request."""
        cdef Bytes request = data + head.size
        cdef size_t length = head.body_size
        if head.has_conditions and not head.is_post:
            return False
        if not http.is_for_any_ocsp(head.target, head.target_size):
            return False
        if not head.is_post:
            length = get_path.find_request(head.target, head.target_size, self.text, self.found)
            request = self.found
        return length and self.responder.answer(request, length, head.is_post, head.closes, self.now, out) == ANSWERED

    cdef bint note(self, uint64_t token, int fd, Bytes octets, size_t size) noexcept nogil:
        """For the end of the turn."""
        cdef Told* told = <Told*> malloc(sizeof(Told) + size)
        if told == NULL:
            return False
        told.next, told.token, told.fd, told.size = NULL, token, fd, size
        memcpy(told.octets, octets, size)
        self.last_told[0] = told
        self.last_told = &told.next
        return True

    cdef void give_away(self, Connection* connection, Bytes octets, size_t size) noexcept nogil:
        """Another takes the connection over, with what has come on it."""
        cdef int fd = connection.fd
        if not self.note(0, fd, octets, size):
            self.drop(connection)
            return
        cs_leave(self.epoll, fd)
        self.release(connection)
