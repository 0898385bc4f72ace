"""The hit of the fast path: parse, look up, check, render, with the HTTP head. Whatever isn't plain is for the chain.

The order is the rule of revocation: the deadline before anything is read, the floors after (design §4.5). What the table
holds was verified when it came in, and is of the certificate under whose key it stands.
"""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from responder._native cimport atomics, der, get_path, http
from responder._native.der cimport Span
from responder._native.floors cimport is_below
from responder._native.framing cimport GET, POST, Head, clear
from responder._native.profile cimport SigningProfile
from responder._native.records cimport RecordView, index_of, parse_record, signature_of
from responder._native.render cimport RENDERED, render_checked
from responder._native.request cimport MAX_OCTETS, RequestView, parse_request
from responder._native.sets cimport MAX_RECORD
from responder._native.sockets cimport CLOCK_BOOTTIME, cs_time
from responder._native.table cimport find

cdef int64_t SECOND = 1000000000
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
    def __cinit__(self, Table table not None, host not None, lane not None, /, *, words):
        cdef uint64_t[::1] of_host = host
        cdef uint64_t[::1] of_lane = lane
        self.table, self.memory = table, (host, lane)
        self.deadline, self.counters = &of_host[words["trusted_until"]], &of_lane[0]
        for method in range(2):
            for status in range(3):
                self.words.requests[method][status] = words["requests"][method][status]
        for index in range(5):
            self.words.hashes[index] = words["hashes"][index]
        self.words.answers, self.words.ages, self.words.nonces = words["answers"], words["ages"], words["nonces"]
        self.words.signed, self.words.unauthorized, self.words.crls = words["signed"], words["unauthorized"], words["crls"]
        if len(words["bounds"]) != AGES:
            raise ValueError(f"{len(words['bounds'])} bounds of ages, not {AGES}")
        for index in range(AGES):
            self.bounds[index] = words["bounds"][index]
        self.date_second = -1
        self.replace([], [])

    def __dealloc__(self):
        free(self.issuers)
        free(self.profiles)

    def replace(self, object issuers, object profiles, /):
        cdef list rows = list(issuers)
        cdef list held = list(profiles)
        cdef uint64_t size = 16
        cdef uint64_t index
        cdef const IssuerPlace** places
        cdef const IssuerPlace* place
        cdef bytes packed
        cdef size_t number
        cdef const Constants** table
        cdef SigningProfile profile
        while size < <uint64_t> (8 * len(rows)) or size < <uint64_t> (2 * len(held)):
            size *= 2
        places = <const IssuerPlace**> calloc(size, sizeof(void*))
        table = <const Constants**> calloc(size, sizeof(void*))
        if places == NULL or table == NULL:
            free(places)
            free(table)
            raise MemoryError
        for packed in rows:
            place = <const IssuerPlace*> <const uint8_t*> packed
            for number in range(len(packed) // sizeof(IssuerPlace)):
                index = _place_of(place[number].name_hash, place[number].key_hash) & (size - 1)
                while places[index] != NULL:
                    index = (index + 1) & (size - 1)
                places[index] = &place[number]
        for profile in held:
            index = _start(profile.id) & (size - 1)
            while table[index] != NULL:
                index = (index + 1) & (size - 1)
            table[index] = &profile.constants
        free(self.issuers)
        free(self.profiles)
        self.issuers, self.profiles = places, table
        self.issuer_mask = self.profile_mask = size - 1
        self.held = [rows, held]

    def respond(self, bytes request not None, bint is_post, int64_t now, /):
        cdef uint8_t[MAX_RESPONSE] room
        cdef Out out = der.writer(room, MAX_RESPONSE)
        cdef Head head
        cdef int price
        clear(&head)
        head.method = POST if is_post else GET
        if self.answer(&head, request, len(request), now, &out, &price) == ASK:
            return None
        return <bytes> out.position[:der.written(&out, room + MAX_RESPONSE)]

    cdef const IssuerPlace* find_issuer(self, const CertIDView* asked) noexcept nogil:
        cdef int algorithm = asked.variant & 15
        cdef uint64_t index
        cdef const IssuerPlace* place
        if algorithm == 0:
            return NULL
        index = _place_of(asked.issuer_name_hash, asked.issuer_key_hash)
        while True:
            place = self.issuers[index & self.issuer_mask]
            if place == NULL:
                return NULL
            if (
                place.algorithm == algorithm
                and memcmp(place.key_hash, asked.issuer_key_hash, asked.key_size) == 0
                and memcmp(place.name_hash, asked.issuer_name_hash, asked.name_size) == 0
            ):
                return place
            index += 1

    cdef const Constants* find_profile(self, const uint8_t* profile_id) noexcept nogil:
        cdef uint64_t index
        memcpy(&index, profile_id, 8)
        while True:
            index &= self.profile_mask
            if self.profiles[index] == NULL or memcmp(self.profiles[index].id, profile_id, 16) == 0:
                return self.profiles[index]
            index += 1

    cdef const uint8_t* date_at(self, int64_t second) noexcept nogil:
        """The Date header, made once a second."""
        cdef Out out
        if second != self.date_second:
            out = der.writer(self.date, 29)
            http.put_date(&out, second)
            self.date_second = second
        return self.date

    cdef Outcome answer(
        self, const Head* head, Bytes request, size_t size, int64_t now, Out* out, int* price
    ) noexcept nogil:
        cdef RequestView asked
        cdef const CertIDView* cert_id = &asked.ids[0]
        cdef RecordView view
        cdef Span serial
        cdef const IssuerPlace* issuer
        cdef const Constants* profile
        cdef const uint8_t* signature
        cdef const uint8_t* end
        cdef uint8_t[MAX_RECORD] record
        cdef int64_t seconds = now // SECOND
        cdef int64_t ceiling = (now + SECOND - 1) // SECOND
        cdef int64_t due, age
        cdef size_t record_size
        cdef int index
        cdef uint8_t[2 * (ETAG_PROFILE + ETAG_SIGNATURE)] tag
        cdef bint is_known
        price[0] = 1
        if not parse_request(request, size, &asked):
            return ASK
        price[0] = asked.count + (asked.count > 1 or asked.nonce != NULL)
        issuer = self.find_issuer(cert_id)
        if issuer == NULL:
            return self.refuse(head, &asked, now, out)
        if atomics.load(self.deadline) <= <uint64_t> cs_time(CLOCK_BOOTTIME):
            return ASK
        if asked.count != 1 or asked.signature_algorithm.size or issuer.is_for_the_chain:
            return ASK
        if not issuer.variants >> index_of(cert_id.variant) & 1:
            return ASK
        if (asked.nonce != NULL and not issuer.ignores_nonce) or (asked.preference_count and issuer.honours_preferences):
            return ASK
        serial.data, serial.size = cert_id.serial, cert_id.serial_size
        record_size = find(self.table.start, issuer.tag, &serial, record)
        if record_size == 0 or parse_record(record, record_size, &view) != NULL:
            return ASK
        signature = signature_of(&view, cert_id.variant)
        if signature == NULL:
            return ASK
        due = refresh_due(&view, issuer.refresh)
        # What is due is for the chain, which answers it and has a new one signed behind that.
        if view.next_update <= ceiling or due <= ceiling:
            return ASK
        profile = self.find_profile(view.profile_id)
        if profile == NULL or memcmp(profile.issuer_tag.data, issuer.tag, 8) != 0:
            return ASK
        if profile.algorithm.coordinate and view.signature_size != 2 * profile.algorithm.coordinate:
            return ASK
        end = out.position
        http.write_hex(tag, view.profile_id, ETAG_PROFILE)
        http.write_hex(tag + 2 * ETAG_PROFILE, signature, ETAG_SIGNATURE)
        is_known = head.method != POST and http.is_among(tag, sizeof(tag), head.tags, head.tags_size)
        if not is_known and render_checked(profile, &view, cert_id.variant, &serial, signature, out) != RENDERED:
            return ASK
        self.put_head(out, end, &view, tag, min(issuer.max_age, due - ceiling), head.closes, is_known, now)
        if out.full:
            return ASK
        if is_below(self.table.floors.start, issuer.tag, &serial, view.epoch, view.number, view.as_of):
            return ASK
        # This process alone writes in its lane.
        self.counters[self.words.requests[head.method == POST][view.cert_status]] += 1
        self.counters[self.words.answers] += 1
        self.count_asked(&asked)
        age = max(<int64_t> 0, seconds - view.this_update)
        index = 0
        while index < AGES and age > self.bounds[index]:
            index += 1
        self.counters[self.words.ages + index] += 1
        self.counters[self.words.ages + AGES + 1] += <uint64_t> (age * SECOND)
        return ANSWERED

    cdef Outcome refuse(self, const Head* head, const RequestView* asked, int64_t now, Out* out) noexcept nogil:
        """Of an issuer that isn't ours, or by a hash that nobody knows."""
        self.counters[self.words.unauthorized[head.method == POST]] += 1
        self.count_asked(asked)
        http.put_error(out, http.UNAUTHORIZED, 0, head.closes, False, self.date_at(now // SECOND))
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
        der.put(out, self.date_at(now // SECOND), 29)
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


cdef inline uint64_t _place_of(const uint8_t* name_hash, const uint8_t* key_hash) noexcept nogil:
    """Where the search for an issuer begins: many names may have one key."""
    cdef uint64_t name, key
    memcpy(&name, name_hash, 8)
    memcpy(&key, key_hash, 8)
    return name ^ key


cdef uint64_t _start(bytes octets) except? 0:
    """Where the search begins: the first eight octets."""
    cdef uint64_t index
    if len(octets) < 8:
        raise ValueError(f"{octets!r} is too short for a hash")
    memcpy(&index, <const uint8_t*> octets, 8)
    return index


cdef int _copy(uint8_t* where, bytes octets, size_t room) except -1:
    if <size_t> len(octets) > room:
        raise ValueError(f"{len(octets)} octets where {room} are the most")
    memcpy(where, <const uint8_t*> octets, len(octets))
    return 0


def pack_issuer(object row, /):
    cdef IssuerPlace[4] places
    cdef IssuerPlace* place
    cdef int count = 0
    memset(places, 0, sizeof(places))
    if len(row.cert_id_hashes) > 4:
        raise ValueError(f"{len(row.cert_id_hashes)} pairs of hashes, not one for each of four algorithms")
    for name_hash, key_hash in row.cert_id_hashes:
        place = &places[count]
        _start(name_hash)
        _start(key_hash)
        _copy(place.tag, row.tag, 8)
        _copy(place.name_hash, name_hash, MAX_HASH)
        _copy(place.key_hash, key_hash, MAX_HASH)
        for variant in row.variants:
            if index_of(variant) < 0:
                raise ValueError(f"variant {variant} isn't one of ours")
            place.variants |= 1 << index_of(variant)
        place.ignores_nonce, place.honours_preferences = row.ignores_nonce, row.honours_preferences
        place.is_for_the_chain = row.is_for_the_chain
        place.refresh, place.max_age = row.refresh, row.max_age
        count += 1
        place.algorithm = count
    return <bytes> (<const uint8_t*> places)[:count * sizeof(IssuerPlace)]


def find_request(bytes path not None, /):
    cdef uint8_t[get_path.MAX_TARGET] text
    cdef uint8_t[get_path.MAX_TARGET] found
    cdef size_t size = get_path.find_request(path, len(path), text, found)
    return <bytes> found[:size] if size else None
