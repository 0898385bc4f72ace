"""The hit of the fast path: parse, look up, check, render, with the HTTP head; what has to be signed for a request is
signed here, too. Whatever else isn't plain is for the chain.
"""

cimport cython
from libc.string cimport memcmp, memcpy

from responder._native cimport der, get_path, http
from responder._native.algorithms cimport MAX_SIGNATURE
from responder._native.framing cimport GET, POST, clear
from responder._native.holdings cimport NEVER_ISSUED, UNREAD, Reading
from responder._native.issuers cimport IssuerPlace
from responder._native.record_format cimport RecordView, find_signature, index_of
from responder._native.render cimport (
    RENDERED, Constants, Single, is_of_algorithm, put_response, put_response_data, put_signature, render_checked, set_single,
)
from responder._native.request cimport MAX_IDS, MAX_OCTETS, parse_request
from responder._native.sockets cimport CLOCK_BOOTTIME, cs_time

cdef int64_t SECOND = 1000000000
cdef enum:
    ETAG_SIGNATURE = 16
    ETAG_PROFILE = 4


@cython.final
cdef class Responder(Holdings):
    def __cinit__(self, table, host, lane not None, /, *, words, bytes headers=b"", **_):
        cdef uint64_t[::1] of_lane = lane
        if DATE + len(headers) > MAX_STAMP:
            raise ValueError(f"{len(headers)} octets of headers are too many")
        memcpy(self.text + DATE, <const uint8_t*> headers, len(headers))
        self.stamp.data, self.stamp.size = self.text, DATE + len(headers)
        self.counters = &of_lane[0]
        for method in range(2):
            for status in range(3):
                self.words.requests[method][status] = words["requests"][method][status]
            self.words.several[method] = words["several"][method]
        for index in range(5):
            self.words.hashes[index] = words["hashes"][index]
        self.words.answers, self.words.ages, self.words.nonces = words["answers"], words["ages"], words["nonces"]
        self.words.live, self.words.unmet, self.words.fetched = words["live"], words["unmet"], words["fetched"]
        self.words.never_issued = words["never_issued"]
        self.source = self.words.answers
        self.words.signed, self.words.unauthorized, self.words.crls = words["signed"], words["unauthorized"], words["crls"]
        if len(words["bounds"]) != AGES:
            raise ValueError(f"{len(words['bounds'])} bounds of ages, not {AGES}")
        for index in range(AGES):
            self.bounds[index] = words["bounds"][index]
        self.stamped = -1

    def respond(self, bytes request not None, bint is_post, int64_t now, /, *, bint signs=False):
        cdef uint8_t[MAX_RESPONSE] room
        cdef Out out = der.writer(room, MAX_RESPONSE)
        cdef Head head
        cdef int price
        clear(&head)
        head.method = POST if is_post else GET
        cdef Outcome outcome = self.answer(&head, request, len(request), now, SIGNED if signs else LOOK, &out, &price)
        if outcome == ASK or outcome == SIGN:
            return None
        return <bytes> out.position[:der.written(&out, room + MAX_RESPONSE)]

    cdef const Span* stamp_at(self, int64_t second) noexcept nogil:
        """What the head of every response ends with: its date, made once a second."""
        cdef Out out
        if second != self.stamped:
            out = der.writer(self.text, DATE)
            http.put_date(&out, second)
            self.stamped = second
        return &self.stamp

    cdef Outcome answer(
        self, const Head* head, Bytes request, size_t size, int64_t now, Want want, Out* out, int* price
    ) noexcept nogil:
        cdef RequestView asked
        cdef Span nonce
        cdef int64_t boottime
        cdef bint is_live
        cdef const IssuerPlace* issuer
        cdef Reading reading
        cdef Outcome outcome = ANSWERED
        cdef int64_t seconds = now // SECOND
        cdef int64_t ceiling = (now + SECOND - 1) // SECOND
        price[0] = 1
        if not parse_request(request, size, &asked):
            return ASK
        price[0] = asked.count + (asked.count > 1 or asked.nonce != NULL)
        issuer = self.issuers.find(&asked.ids[0])
        if issuer == NULL:
            return self.refuse(head, &asked, now, out)
        boottime = cs_time(CLOCK_BOOTTIME)
        if not self.is_current(boottime):
            return ASK
        if asked.signature_algorithm.size or issuer.is_for_the_chain:
            return ASK
        if asked.preference_count and issuer.honours_preferences:
            return ASK
        nonce.data, nonce.size = asked.nonce, 0 if issuer.ignores_nonce else asked.nonce_size
        is_live = (
            asked.count > 1
            or (nonce.size and want != WITHOUT_NONCE)
            or not issuer.variants >> index_of(asked.ids[0].variant) & 1
        )
        if is_live and (want == WITHOUT_NONCE or not self.may_sign(now, boottime)):
            return ASK
        reading = self.read_all(issuer, &asked, boottime, ceiling)
        if reading == UNREAD:
            return ASK
        if reading == NEVER_ISSUED:
            self.counters[self.words.never_issued] += 1
            return self.refuse(head, &asked, now, out)
        if is_live:
            outcome = self.put_live(head, &asked, &nonce, want, seconds, out)
        elif not self.put_stored(
            head, self.found, asked.ids[0].variant, min(issuer.max_age, self.found[0].due - ceiling), now, out
        ):
            return ASK
        if outcome != ANSWERED:
            if outcome == SIGN and asked.count == 1 and self.due_key == NULL:
                price[0] = 1
            return outcome
        if out.full or not self.is_still_so(issuer, asked.count):
            return ASK
        # This process alone writes in its lane.
        self.counters[self.words.live if is_live else self.source] += 1
        if nonce.size and not is_live:
            self.counters[self.words.unmet] += 1
        self.count(&asked, head.method == POST, seconds)
        return ANSWERED

    cdef Outcome put_live(
        self, const Head* head, const RequestView* asked, const Span* nonce, Want want, int64_t seconds, Out* out
    ) noexcept nogil:
        """The response that is signed for this request. What a thread has signed counts while it is what would be signed
        now, so that all that is looked at before is looked at again."""
        cdef Single[MAX_IDS] singles
        cdef uint8_t[MAX_SIGNATURE] room
        cdef const uint8_t* signature = room
        cdef size_t size, signature_size
        cdef const uint8_t* end = out.position
        cdef const Constants* profile = self.found[0].profile
        cdef LiveKey* key = self.live.find(profile.id)
        cdef Out data = der.writer(self.data, MAX_SIGNED)
        cdef int index
        self.due_key = NULL
        if key == NULL:
            return ASK
        for index in range(asked.count):
            if self.found[index].view.this_update > seconds or self.found[index].view.is_verbatim:
                return ASK
            set_single(&singles[index], &self.found[index].view, asked.ids[index].variant, &self.found[index].serial)
        if want != SIGNED and not key.is_slow:
            return SIGN
        self.due_at = seconds if want != SIGNED or self.made == NULL else self.made.produced_at
        put_response_data(&data, profile, singles, asked.count, self.due_at, nonce if nonce.size else NULL)
        size = der.written(&data, self.data + MAX_SIGNED)
        if data.full:
            return ASK
        if not key.is_slow:
            if not self.live.sign(key, data.position, size, room, &signature_size, self.counters):
                return ASK
        elif want != SIGNED:
            self.due_key, self.due_data, self.due_size = key, data.position, size
            return SIGN
        elif self.made == NULL or self.made.size != size or memcmp(self.made.data, data.position, size) != 0:
            return ASK
        elif self.made.signature_size == 0:
            return SIGN
        else:
            signature = &self.made.signature[0]
            signature_size = self.made.signature_size
        put_signature(out, profile, signature, signature_size, False)
        der.put(out, data.position, size)
        put_response(out, end)
        http.put_live_head(out, der.written(out, end), head.closes, self.stamp_at(seconds))
        return ANSWERED

    cdef void count(self, const RequestView* asked, bint is_post, int64_t seconds) noexcept nogil:
        cdef int64_t age = 0
        cdef int index
        for index in range(asked.count):
            age = max(age, seconds - self.found[index].view.this_update)
        if asked.count == 1:
            self.counters[self.words.requests[is_post][self.found[0].view.cert_status]] += 1
        else:
            self.counters[self.words.several[is_post]] += 1
        self.count_asked(asked)
        index = 0
        while index < AGES and age > self.bounds[index]:
            index += 1
        self.counters[self.words.ages + index] += 1
        self.counters[self.words.ages + AGES + 1] += <uint64_t> (age * SECOND)

    cdef bint put_stored(
        self,
        const Head* head,
        const Found* found,
        int variant,
        int64_t max_age,
        int64_t now,
        Out* out,
    ) noexcept nogil:
        """The response that was signed before; or 304, of a client that has it."""
        cdef const Constants* profile = found.profile
        cdef const RecordView* view = &found.view
        cdef Span signature
        cdef const uint8_t* end = out.position
        cdef uint8_t[2 * (ETAG_PROFILE + ETAG_SIGNATURE)] tag
        cdef bint is_known
        if not find_signature(view, variant, &signature) or not is_of_algorithm(profile, view):
            return False
        http.write_hex(tag, view.profile_id, ETAG_PROFILE)
        http.write_hex(tag + 2 * ETAG_PROFILE, signature.data, ETAG_SIGNATURE)
        is_known = head.method != POST and http.is_among(tag, sizeof(tag), head.tags, head.tags_size)
        if not is_known and render_checked(profile, view, variant, &found.serial, &signature, out) != RENDERED:
            return False
        self.put_head(out, end, view, tag, max_age, head.closes, is_known, now)
        return True

    cdef Outcome refuse(self, const Head* head, const RequestView* asked, int64_t now, Out* out) noexcept nogil:
        """Of what isn't ours, by issuer, hash or serial."""
        self.counters[self.words.unauthorized[head.method == POST]] += 1
        self.count_asked(asked)
        http.put_error(out, http.UNAUTHORIZED, 0, head.closes, False, self.stamp_at(now // SECOND))
        return REFUSED

    cdef void count_asked(self, const RequestView* asked) noexcept nogil:
        cdef int index
        for index in range(asked.count):
            self.counters[self.words.hashes[asked.ids[index].variant & 15]] += 1
        if asked.nonce != NULL:
            self.counters[self.words.nonces] += 1
        if asked.signature_algorithm.size:
            self.counters[self.words.signed] += 1

    cdef void put_head(
        self,
        Out* out,
        const uint8_t* end,
        const RecordView* view,
        const uint8_t* tag,
        int64_t max_age,
        bint closes,
        bint is_known,
        int64_t now,
    ) noexcept nogil:
        """Before the body, which is what was written since `end`: the headers of `web.exchange.answered`; of a client that
        knows the body, 304 without one."""
        cdef size_t body_size = der.written(out, end)
        http.put_text(out, b"\r\nConnection: close\r\n\r\n" if closes else b"\r\n\r\n")
        der.put_span(out, self.stamp_at(now // SECOND))
        http.put_text(out, b"\r\nDate: ")
        http.put_date(out, view.this_update)
        http.put_text(out, b"\r\nLast-Modified: ")
        http.put_date(out, view.next_update)
        http.put_text(out, b"\"\r\nExpires: ")
        der.put(out, tag, 2 * (ETAG_PROFILE + ETAG_SIGNATURE))
        http.put_text(out, b",public,no-transform,must-revalidate\r\nETag: \"")
        http.put_number(out, max_age)
        if is_known:
            http.put_text(out, b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=")
            return
        http.put_text(out, b"\r\nCache-Control: max-age=")
        http.put_number(out, <int64_t> body_size)
        http.put_text(out, b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: ")


def find_request(bytes path not None, /):
    cdef uint8_t[get_path.MAX_TARGET] text
    cdef uint8_t[get_path.MAX_TARGET] found
    cdef size_t size = get_path.find_request(path, len(path), text, found)
    return <bytes> found[:size] if size else None
