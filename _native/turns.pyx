"""What a turn does: without the GIL it takes what has come on connections, answers what the table or a page holds, and
signs what is due. What it has for Python goes into the mail.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from responder._native cimport der, framing, http
from responder._native.answer cimport ANSWERED, ASK, LOOK, REFUSED, SIGN, SIGNED, WITHOUT_NONCE, CounterWords, Outcome, Responder
from responder._native.connections cimport DUE, FETCHED, MADE, NEW, Stage, has_unsent
from responder._native.clients cimport Address
from responder._native.mail cimport LOOKED_FOR, MISSING, NOBODY
from responder._native.pages cimport PageData
from responder._native.proxy cimport NAMED, PART, WRONG, Announced, read_proxy_header
from responder._native.live cimport LiveKey
from responder._native.signing_threads cimport Job, free_job, make_job
from responder._native.sockets cimport SIGNED as SIGNED_ELSEWHERE
from responder._native.sockets cimport (
    EFD_CLOEXEC, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, LISTENER, QUEUE, close, cs_leave, cs_watch,
    epoll_event, epoll_wait, eventfd, recv,
)

cdef int64_t SECOND = 1000000000

cdef enum:
    EVENTS = 256
    HANDED_OVER = 2       # price of a connection that Hypercorn takes over


cdef class Turns(Sending):
    def __cinit__(
        self, int listener, *, Responder responder not None, Pages pages not None, fetch, int signing_threads=1,
        double signing_seconds=0.5, **_
    ):
        self.site = Site(responder, pages, self.gate)
        self.fetches, self.mail, self.queue = fetch is not None, Mail(), Queue(self.gate.signatures)
        self.rouser = eventfd(1, EFD_CLOEXEC)
        if self.rouser < 0 or cs_watch(self.epoll, self.rouser, QUEUE, EPOLLIN | EPOLLET) < 0:
            raise OSError(errno, "no eventfd")
        self.threads = SigningThreads(signing_threads, self.queue.room, signing_seconds)
        if cs_watch(self.epoll, self.threads.shop.rouser, SIGNED_ELSEWHERE, EPOLLIN | EPOLLET) < 0:
            raise OSError(errno, "an eventfd can't be watched")

    def __dealloc__(self):
        if self.rouser > 0:
            close(self.rouser)

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
            if events[index].data.u64 == SIGNED_ELSEWHERE:
                self.take_signed()
                continue
            connection = self.connection_of(events[index].data.u64)
            if connection == NULL:
                continue
            if has_unsent(connection) and what & (EPOLLOUT | EPOLLHUP | EPOLLERR):
                if self.send_rest(connection):
                    self.go_on(connection)
            elif what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self.receive(connection, what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0)
        self.drop_idle()
        return count

    cdef bint sign_next(self) noexcept nogil:
        """Whether there was an answer to be signed: one at a time, and what the table has goes before the next."""
        cdef Connection* connection
        cdef uint64_t token
        while self.queue.take(&token):
            connection = self.connection_of(token)
            if connection != NULL:
                connection.waiting = False
                self.go_on(connection)
                return True
        return False

    cdef void take_signed(self) noexcept nogil:
        """Go on with those for whom a thread has signed, or hasn't in time."""
        cdef Job* job = self.threads.take()
        cdef Job* following
        cdef Connection* connection
        while job != NULL:
            if job.signature_size:
                self.site.responder.live.count(
                    job.signatures, job.seconds, job.taken, self.site.responder.counters
                )
            connection = self.connection_of(job.token)
            if connection != NULL and connection.waiting:
                connection.waiting, self.site.responder.made = False, job
                self.go_on(connection)
                self.site.responder.made = NULL
            following = job.next
            free_job(job)
            job = following

    cdef bint have_signed(self, Connection* connection) noexcept nogil:
        cdef LiveKey* key = self.site.responder.due_key
        cdef uint64_t token = self.token_of(connection)
        cdef Job* job
        connection.waiting, connection.stage = True, DUE
        if key == NULL:
            return self.queue.put(token)
        job = make_job(
            token, key.key, key.algorithm, self.site.responder.due_data, self.site.responder.due_size
        )
        if job == NULL:
            return False
        job.signatures, job.seconds, job.produced_at = key.signatures, key.seconds, self.site.responder.due_at
        if not self.threads.put(job):
            free_job(job)
            return False
        return True

    cdef void receive(self, Connection* connection, bint ending) noexcept nogil:
        """Take what has come. A recv that brings less than it might has taken all; the end of the stream is an edge."""
        cdef ssize_t got
        cdef size_t kept
        while connection.fd >= 0 and not connection.waiting and not has_unsent(connection):
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
        if connection.waiting or has_unsent(connection):
            return
        if size:
            connection.kept, connection.kept_size = NULL, 0
            self.take(connection, kept, size)
            free(kept)
        if connection.fd >= 0:
            self.receive(connection, True)

    cdef void take(self, Connection* connection, Bytes data, size_t size) noexcept nogil:
        """Answer the requests in `data`, in their order; keep what is left."""
        cdef Head head
        cdef framing.Shape shape = framing.PART
        cdef Out out
        cdef size_t whole
        cdef size_t gathered = 0
        cdef bint closes = False
        cdef bint is_plain = True
        if connection.is_announced:
            data = self.hear(connection, data, &size)
        while size and is_plain and not connection.waiting and not closes:
            if data[0] == 13 and size > 1 and data[1] == 10:
                data += 2          # an empty line before a request (RFC 9112 §2.2)
                size -= 2
                continue
            out = der.writer(self.answer, MAX_RESPONSE)
            shape = framing.PART if size == 1 and data[0] == 13 else framing.read_head(data, size, &head)
            if shape == framing.PART:
                break
            if shape != framing.WHOLE:
                self.gate.refuse_framing(
                    shape == framing.TOO_LONG, self.site.responder.stamp_at(self.now // SECOND), &out
                )
                closes = True
                whole = size
            elif head.method == framing.ANOTHER or head.is_chunked or head.body_size > MAX_BODY:
                head.closes = True
                if self.site.admits(&connection.peer, &head, data, False, HANDED_OVER, self.now, self.monotonic, &out):
                    is_plain = False
                    break
                closes = True
                whole = size
            elif size - head.size < head.body_size:
                shape = framing.PART
                if connection.has_head:
                    break
                connection.has_head = True
                self.touch(connection)     # its body begins
                if not head.expects:
                    break
                whole = 0
                http.put_text(&out, b"HTTP/1.1 100 Continue\r\n\r\n")
            else:
                connection.has_head = False
                head.closes = closes = head.closes or self.draining
                whole = head.size + <size_t> head.body_size
                if not self.settle(connection, &head, data, whole, &out):
                    self.drop(connection)
                    return
                if connection.stage != NEW:
                    whole = 0                  # it is settled once more
            if not self.gather(connection, &out, &gathered, size == whole):
                return
            data += whole
            size -= whole
            if shape == framing.PART:
                break
        if gathered:
            self.transmit(connection, self.batch, gathered)
        if connection.fd < 0:
            return
        if closes and not connection.waiting:
            self.end(connection)
        elif size and (is_plain or connection.waiting or has_unsent(connection)):
            self.keep(connection, data, size)
        elif size:
            self.give_away(connection, data, size)

    cdef Bytes hear(self, Connection* connection, Bytes data, size_t* size) noexcept nogil:
        cdef size_t used = 0
        cdef Address client
        cdef Announced said = read_proxy_header(data, size[0], &used, &client)
        if said == PART:
            self.keep(connection, data, size[0])
            size[0] = 0
            return NULL
        if said == NAMED:
            connection.peer = client
        if said == WRONG:
            self.gate.count(self.gate.words.unannounced)
        if said == WRONG or (said == NAMED and self.has_too_many(&client)):
            self.drop(connection)
            size[0] = 0
            return NULL
        connection.is_announced = False
        if said == NAMED:
            self.count_client(connection)
        size[0] -= used
        return data + used

    cdef bint gather(self, Connection* connection, const Out* out, size_t* gathered, bint is_last) noexcept nogil:
        """Put what `out` has behind what goes out together; the only one goes out as it is. False where the connection
        has ended of it."""
        cdef size_t size = der.written(out, self.answer + MAX_RESPONSE)
        if gathered[0] + size > BATCH:
            self.transmit(connection, self.batch, gathered[0])
            gathered[0] = 0
        elif gathered[0] == 0 and is_last and size:
            self.transmit(connection, out.position, size)
            return connection.fd >= 0
        memcpy(self.batch + gathered[0], out.position, size)
        gathered[0] += size
        return connection.fd >= 0

    cdef bint settle(
        self, Connection* connection, const Head* head, Bytes data, size_t whole, Out* out
    ) noexcept nogil:
        """Have in `out` what the table or a page says, or that this client is to ask later; or else have it wait for a
        signature, look for what is missing, or ask the chain. False where there is no memory for that."""
        cdef Out again = out[0]
        cdef const PageData* following = NULL
        cdef int price = 1
        cdef Stage stage = connection.stage
        cdef const CounterWords* words = &self.site.responder.words
        cdef bint is_missing
        cdef uint64_t token = self.token_of(connection)
        cdef Outcome outcome
        connection.stage = NEW
        self.site.responder.missing_size = 0
        self.site.responder.source = (
            words.fetched if stage == FETCHED else words.live if stage == MADE else words.answers
        )
        outcome = self.site.look_up(head, data, SIGNED if stage == DUE else LOOK, self.now, out, &price)
        if outcome == SIGN and stage != DUE and self.queue.count + self.threads.count < self.queue.room and (
            stage != NEW or self.gate.early(&connection.peer, data, head.size, price, self.monotonic) == 0
        ):
            out[0] = again
            return self.have_signed(connection)
        if outcome == SIGN or (outcome == ASK and stage == NEW and not self.gate.has_room()):
            out[0] = again
            outcome = self.site.look_up(head, data, WITHOUT_NONCE, self.now, out, &price)
        if outcome == REFUSED or (outcome == ANSWERED and (stage != NEW or not self.gate.counts_hits)):
            return True
        if outcome == ASK:
            out[0] = again
            if self.site.shows(head, self.now, out, &following):
                connection.waiting = following != NULL
                return following == NULL or self.mail.note(token, NOBODY, data, 0, following.page, head.closes)
        if stage == NEW and not self.site.admits(
            &connection.peer, head, data, outcome == ANSWERED, price, self.now, self.monotonic, &again
        ):
            out[0] = again
        elif outcome == ASK:
            out[0] = again
            is_missing = self.fetches and stage == NEW and self.site.responder.missing_size > 0
            connection.waiting = (
                self.mail.note(
                    token, MISSING, self.site.responder.missing, self.site.responder.missing_size, NULL, False
                )
                if is_missing
                else self.mail.note(token, NOBODY if stage == NEW else LOOKED_FOR, data, whole, NULL, head.closes)
            )
            connection.stage = FETCHED if is_missing else NEW
            self.gate.under_way += connection.waiting
            return connection.waiting
        return True

    cdef void give_away(self, Connection* connection, Bytes octets, size_t size) noexcept nogil:
        """Another takes the connection over, with what has come on it."""
        cdef int fd = connection.fd
        if not self.mail.note(0, fd, octets, size, NULL, False):
            self.drop(connection)
            return
        cs_leave(self.epoll, fd)
        self.release(connection)
