"""What a host knows: issuers, profiles and keys, the table of records and the filter of issued serials; and what may be
said of certificates at this moment.

The order is the rule of revocation: the deadline before anything is read, the floors after (design §4.5). What the table
holds was verified when it came in, and is of the certificate under whose key it stands.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from responder._native cimport atomics
from responder._native.floors cimport is_below
from responder._native.profile cimport SigningProfile
from responder._native.record_format cimport PROFILE_ID, UNKNOWN, parse_record
from responder._native.sockets cimport CLOCK_BOOTTIME, cs_time
from responder._native.table cimport find

cdef int64_t SECOND = 1000000000
cdef int64_t MAX_CLOCK_DIFFERENCE = 60 * SECOND


cdef int64_t refresh_due(const RecordView* view, int64_t refresh) noexcept nogil:
    """As `pki.refresh_due`, but for half seconds: those are rounded down."""
    cdef int64_t begin = view.produced_at if view.is_verbatim else view.this_update
    cdef int64_t span = view.next_update - begin
    cdef int64_t due = min(refresh, span // 2, <int64_t> 4 * 86400)
    if span >= 16 * 3600:
        due = min(due, span - 8 * 3600)
    return begin + max(due, <int64_t> 0)


cdef class Holdings:
    def __cinit__(self, Table table not None, host not None, lane not None, /, *, words, Issued issued=None, **_):
        cdef uint64_t[::1] of_host = host
        self.table, self.memory = table, (host, lane)
        self.deadline = &of_host[words["trusted_until"]]
        self.database_clock = &of_host[words["database_clock"]]
        self.issued, self.issued_until = issued, &of_host[words["issued_until"]]
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

    cdef const Constants* find_profile(self, const uint8_t* profile_id) noexcept nogil:
        cdef uint64_t index
        memcpy(&index, profile_id, 8)
        while True:
            index &= self.profile_mask
            if self.profiles[index] == NULL or memcmp(self.profiles[index].id, profile_id, 16) == 0:
                return self.profiles[index]
            index += 1

    cdef bint is_current(self, int64_t boottime) noexcept nogil:
        """Whether what is here may be said at all."""
        return atomics.load(self.deadline) > <uint64_t> boottime

    cdef bint may_sign(self, int64_t now, int64_t boottime) noexcept nogil:
        """Whether this host's clock is near enough to the database's (design §4.8)."""
        cdef uint64_t difference = atomics.load(self.database_clock)
        return difference and -MAX_CLOCK_DIFFERENCE <= now - (<int64_t> difference + boottime) <= MAX_CLOCK_DIFFERENCE

    cdef Reading read_all(
        self, const IssuerPlace* issuer, const RequestView* asked, int64_t boottime, int64_t ceiling
    ) noexcept nogil:
        """What is said of all certificates: of one issuer, with the profile of one signer. NEVER_ISSUED: none was issued; one
        beside others is `unknown`, since when they were read."""
        cdef const IssuerPlace* another
        cdef Found* known = NULL
        cdef Found* found
        cdef Reading reading
        cdef int index
        for index in range(asked.count):
            found = &self.found[index]
            if index:
                another = self.issuers.find(&asked.ids[index])
                if another == NULL or memcmp(another.tag, issuer.tag, 8) != 0 or another.is_for_the_chain:
                    return UNREAD
            reading = self.read(issuer, &asked.ids[index], boottime, ceiling, found)
            if reading == UNREAD:
                if asked.count > 1:
                    self.missing_size = 0      # the chain looks for all of them together
                return UNREAD
            if reading == NEVER_ISSUED:
                continue
            if known == NULL:
                known = found
            elif memcmp(known.profile.id, found.profile.id, PROFILE_ID) != 0:
                return UNREAD
        if known == NULL:
            return NEVER_ISSUED
        for index in range(asked.count):
            found = &self.found[index]
            if not found.is_issued:
                found.view, found.profile = known.view, known.profile
                found.view.cert_status, found.view.extensions.size = UNKNOWN, 0
        return READ

    cdef Reading read(
        self, const IssuerPlace* issuer, const CertIDView* cert_id, int64_t boottime, int64_t ceiling, Found* found
    ) noexcept nogil:
        cdef size_t size
        found.serial.data, found.serial.size, found.is_issued = cert_id.serial, cert_id.serial_size, True
        size = find(self.table.start, issuer.tag, &found.serial, found.record)
        if size == 0:
            if self.was_never_issued(issuer, &found.serial, boottime):
                found.is_issued = False
                return NEVER_ISSUED
            self.miss(issuer.tag, &found.serial)
            return UNREAD
        if parse_record(found.record, size, &found.view) != NULL:
            return UNREAD
        found.due = refresh_due(&found.view, issuer.refresh)
        # What is due is for the chain, which answers it and has a new one signed behind that.
        if found.view.next_update <= ceiling or found.due <= ceiling:
            return UNREAD
        found.profile = self.find_profile(found.view.profile_id)
        if found.profile == NULL or memcmp(found.profile.issuer_tag.data, issuer.tag, 8) != 0:
            return UNREAD
        return READ

    cdef bint is_still_so(self, const IssuerPlace* issuer, int count) noexcept nogil:
        """Whether nothing that was read is below a floor: to be asked once the answer is made."""
        cdef const Found* found
        cdef int index
        for index in range(count):
            found = &self.found[index]
            if found.is_issued and is_below(
                self.table.floors.start, issuer.tag, &found.serial, found.view.epoch, found.view.number, found.view.as_of
            ):
                return False
        return True

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
