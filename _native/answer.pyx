"""The hit of the fast path: parse, look up, check, render, with the HTTP head; a nonce is signed here, too. Whatever else
isn't plain is for the chain.

The order is the rule of revocation: the deadline before anything is read, the floors after (design §4.5). What the table
holds was verified when it came in, and is of the certificate under whose key it stands.
"""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from responder._native cimport atomics, der, get_path, http
from responder._native.der cimport Span
from responder._native.floors cimport is_below
from responder._native.framing cimport GET, POST, Head, clear
from responder._native.issued cimport Issued
from responder._native.issuers cimport IssuerIndex, IssuerPlace
from responder._native.live cimport LiveKey, LiveKeys
from responder._native.profile cimport SigningProfile
from responder._native.records cimport RecordView, index_of, parse_record, signature_of
from responder._native.render cimport RENDERED, render_checked
from responder._native.request cimport MAX_OCTETS, CertIDView, RequestView, parse_request
from responder._native.sets cimport MAX_RECORD
from responder._native.sockets cimport CLOCK_BOOTTIME, cs_time
from responder._native.table cimport find

cdef int64_t SECOND = 1000000000
cdef int64_t MAX_CLOCK_DIFFERENCE = 60 * SECOND
cdef enum:
    ETAG_SIGNATURE = 16
    ETAG_PROFILE = 4


cdef int64_t refresh_due(const RecordView* view, int64_t refresh) noexcept nogil:
    """As `pki.refresh_due`, but for half seconds: those are rounded down."""
    cdef int64_t span = view.next_update - view.this_update
    cdef int64_t due = min(refresh, span // 2, <int64_t> 4 * 86400)
    if span >= 16 * 3600:
        due = min(due, span - 8 * 3600)
    return view.this_update + max(due, <int64_t> 0)


@cython.final
cdef class Responder:
    def __cinit__(self, Table table not None, host not None, lane not None, /, *, words, Issued issued=None, bytes headers=b""):
        cdef uint64_t[::1] of_host = host
        cdef uint64_t[::1] of_lane = lane
        self.table, self.memory = table, (host, lane)
        if DATE + len(headers) > MAX_STAMP:
            raise ValueError(f"{len(headers)} octets of headers are too many")
        memcpy(self.text + DATE, <const uint8_t*> headers, len(headers))
        self.stamp.data, self.stamp.size = self.text, DATE + len(headers)
        self.deadline, self.counters = &of_host[words["trusted_until"]], &of_lane[0]
        self.database_clock = &of_host[words["database_clock"]]
        self.issued, self.issued_until = issued, &of_host[words["issued_until"]]
        self.words.never_issued = words["never_issued"]
        for method in range(2):
            for status in range(3):
                self.words.requests[method][status] = words["requests"][method][status]
        for index in range(5):
            self.words.hashes[index] = words["hashes"][index]
        self.words.answers, self.words.ages, self.words.nonces = words["answers"], words["ages"], words["nonces"]
        self.words.live, self.words.unmet, self.words.fetched = words["live"], words["unmet"], words["fetched"]
        self.source = self.words.answers
        self.words.signed, self.words.unauthorized, self.words.crls = words["signed"], words["unauthorized"], words["crls"]
        if len(words["bounds"]) != AGES:
            raise ValueError(f"{len(words['bounds'])} bounds of ages, not {AGES}")
        for index in range(AGES):
            self.bounds[index] = words["bounds"][index]
        self.stamped = -1
        self.replace([], [], LiveKeys())

    def __dealloc__(self):
        free(self.profiles)

    def replace(self, object issuers, object profiles, LiveKeys live not None, /):
        cdef list held = list(profiles)
        cdef uint64_t size = 16
        cdef uint64_t index
        cdef const Constants** table
        cdef SigningProfile profile
        cdef IssuerIndex known = IssuerIndex(issuers)
        while size < <uint64_t> (2 * len(held)):
            size *= 2
        table = <const Constants**> calloc(size, sizeof(void*))
        if table == NULL:
            raise MemoryError
        for profile in held:
            memcpy(&index, profile.constants.id, 8)
            while table[index & (size - 1)] != NULL:
                index += 1
            table[index & (size - 1)] = &profile.constants
        free(self.profiles)
        self.profiles, self.profile_mask = table, size - 1
        self.issuers, self.live, self.held = known, live, held

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

    cdef const Constants* find_profile(self, const uint8_t* profile_id) noexcept nogil:
        cdef uint64_t index
        memcpy(&index, profile_id, 8)
        while True:
            index &= self.profile_mask
            if self.profiles[index] == NULL or memcmp(self.profiles[index].id, profile_id, 16) == 0:
                return self.profiles[index]
            index += 1

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
        cdef const CertIDView* cert_id = &asked.ids[0]
        cdef RecordView view
        cdef Span serial, nonce
        cdef LiveKey* key
        cdef int64_t boottime
        cdef bint is_live
        cdef const IssuerPlace* issuer
        cdef const Constants* profile
        cdef const uint8_t* end
        cdef uint8_t[MAX_RECORD] record
        cdef int64_t seconds = now // SECOND
        cdef int64_t ceiling = (now + SECOND - 1) // SECOND
        cdef int64_t due, age
        cdef size_t record_size
        cdef int index
        price[0] = 1
        if not parse_request(request, size, &asked):
            return ASK
        price[0] = asked.count + (asked.count > 1 or asked.nonce != NULL)
        issuer = self.issuers.find(cert_id)
        if issuer == NULL:
            return self.refuse(head, &asked, now, out)
        boottime = cs_time(CLOCK_BOOTTIME)
        if atomics.load(self.deadline) <= <uint64_t> boottime:
            return ASK
        if asked.count != 1 or asked.signature_algorithm.size or issuer.is_for_the_chain:
            return ASK
        if asked.preference_count and issuer.honours_preferences:
            return ASK
        nonce.data, nonce.size = asked.nonce, 0 if issuer.ignores_nonce else asked.nonce_size
        is_live = (nonce.size and want != WITHOUT_NONCE) or not issuer.variants >> index_of(cert_id.variant) & 1
        if is_live and (want == WITHOUT_NONCE or not self.may_sign(now, boottime)):
            return ASK
        serial.data, serial.size = cert_id.serial, cert_id.serial_size
        record_size = find(self.table.start, issuer.tag, &serial, record)
        if record_size == 0:
            if self.was_never_issued(issuer, &serial, boottime):
                self.counters[self.words.never_issued] += 1
                return self.refuse(head, &asked, now, out)
            self.miss(issuer.tag, &serial)
            return ASK
        if parse_record(record, record_size, &view) != NULL:
            return ASK
        due = refresh_due(&view, issuer.refresh)
        # What is due is for the chain, which answers it and has a new one signed behind that.
        if view.next_update <= ceiling or due <= ceiling:
            return ASK
        profile = self.find_profile(view.profile_id)
        if profile == NULL or memcmp(profile.issuer_tag.data, issuer.tag, 8) != 0:
            return ASK
        if is_live:
            key = self.live.find(profile.id)
            if key == NULL or view.this_update > seconds:
                return ASK
            if want != SIGNED:
                return SIGN
            end = out.position
            if not self.live.put_answer(
                key, profile, &view, cert_id.variant, &serial, &nonce, seconds, self.counters, out
            ):
                return ASK
            http.put_live_head(out, der.written(out, end), head.closes, self.stamp_at(seconds))
        elif not self.put_stored(head, profile, &view, cert_id.variant, &serial, min(issuer.max_age, due - ceiling), now, out):
            return ASK
        if out.full or is_below(self.table.floors.start, issuer.tag, &serial, view.epoch, view.number, view.as_of):
            return ASK
        # This process alone writes in its lane.
        self.counters[self.words.requests[head.method == POST][view.cert_status]] += 1
        self.counters[self.words.live if is_live else self.source] += 1
        if nonce.size and not is_live:
            self.counters[self.words.unmet] += 1
        self.count_asked(&asked)
        age = max(<int64_t> 0, seconds - view.this_update)
        index = 0
        while index < AGES and age > self.bounds[index]:
            index += 1
        self.counters[self.words.ages + index] += 1
        self.counters[self.words.ages + AGES + 1] += <uint64_t> (age * SECOND)
        return ANSWERED

    cdef void miss(self, const uint8_t* tag, const Span* serial) noexcept nogil:
        if serial.size <= MAX_NAME - 8:
            memcpy(self.missing, tag, 8)
            memcpy(self.missing + 8, serial.data, serial.size)
            self.missing_size = 8 + serial.size

    cdef bint was_never_issued(self, const IssuerPlace* issuer, const Span* serial, int64_t boottime) noexcept nogil:
        return (
            issuer.refuses_unknown
            and self.issued is not None
            and atomics.load(self.issued_until) > <uint64_t> boottime
            and not self.issued.may_have(issuer.tag, serial)
        )

    cdef bint may_sign(self, int64_t now, int64_t boottime) noexcept nogil:
        """Whether this host's clock is near enough to the database's (design §4.8)."""
        cdef uint64_t difference = atomics.load(self.database_clock)
        return difference and -MAX_CLOCK_DIFFERENCE <= now - (<int64_t> difference + boottime) <= MAX_CLOCK_DIFFERENCE

    cdef bint put_stored(
        self,
        const Head* head,
        const Constants* profile,
        const RecordView* view,
        int variant,
        const Span* serial,
        int64_t max_age,
        int64_t now,
        Out* out,
    ) noexcept nogil:
        """The response that was signed before; or 304, of a client that has it."""
        cdef const uint8_t* signature = signature_of(view, variant)
        cdef const uint8_t* end = out.position
        cdef uint8_t[2 * (ETAG_PROFILE + ETAG_SIGNATURE)] tag
        cdef bint is_known
        if signature == NULL:
            return False
        if profile.algorithm.coordinate and view.signature_size != 2 * profile.algorithm.coordinate:
            return False
        http.write_hex(tag, view.profile_id, ETAG_PROFILE)
        http.write_hex(tag + 2 * ETAG_PROFILE, signature, ETAG_SIGNATURE)
        is_known = head.method != POST and http.is_among(tag, sizeof(tag), head.tags, head.tags_size)
        if not is_known and render_checked(profile, view, variant, serial, signature, out) != RENDERED:
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
