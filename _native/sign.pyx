"""Signing OCSP responses: one with a nonce or several CertIDs at once, or records of many certificates in a batch."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, ecdsa, times
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm, SigningContext, sha256_of_two, sign_octets
from responder._native.der cimport Out, Span, span
from responder._native.errors cimport drain_errors
from responder._native.keys cimport PrivateKey
from responder._native.records cimport (
    CERTIFICATE_TAG,
    GOOD,
    MAX_SINGLE_EXTENSIONS,
    REVOKED,
    TAG_OFFSET,
    UNKNOWN,
    VARIANTS,
    RecordView,
    fixed_size,
    index_of,
    read_records,
    set_version,
    write_fixed,
)
from responder._native.render cimport (
    MAX_PREFIX,
    SHA256_OCTETS,
    SLACK,
    Constants,
    Single,
    put_response,
    put_response_data,
    put_signature,
    response_data,
)

from responder.errors import SigningFailed

cdef enum:
    MAX_SERIAL = 16384   # as long as a request may be
    MAX_SINGLES = 64
    MAX_NONCE = 4096


cdef bytes sign_response(const Constants* profile, PrivateKey key, object singles, object produced_at, bytes nonce):
    """One complete DER OCSPResponse, for a nonce or several CertIDs."""
    cdef Single[MAX_SINGLES] items
    cdef Span nonce_content
    cdef int count = 0
    cdef bytes tbs
    cdef bytes signature
    # Tuples of our own: they keep the octets alive that `items` points into.
    cdef list held = [tuple(single) for single in singles]
    cdef size_t room = profile.size
    cdef const Algorithm* algorithm = algorithm_for(profile, key)
    if not 1 <= len(held) <= MAX_SINGLES:
        raise ValueError(f"{len(held)} single responses; 1 to {MAX_SINGLES} are possible")
    for variant, serial, cert_status, revocation_time, reason, this_update, next_update, extensions in held:
        _fill(
            &items[count],
            variant,
            serial,
            cert_status,
            revocation_time,
            reason,
            this_update,
            next_update,
            extensions,
        )
        room += SLACK + MAX_PREFIX + items[count].serial.size + items[count].extensions.size
        count += 1
    if nonce is not None:
        nonce_content = span(nonce)
        if not 1 <= len(nonce) <= MAX_NONCE:
            raise ValueError(f"a nonce has 1 to {MAX_NONCE} octets, not {len(nonce)}")
        room += nonce_content.size
    tbs = response_data(
        profile,
        items,
        count,
        times.moment("produced_at", produced_at),
        NULL if nonce is None else &nonce_content,
        room,
    )
    signature = key._sign(algorithm, tbs, len(tbs))
    return _response(profile, tbs, signature)


cdef list sign_records(const Constants* profile, PrivateKey key, object statuses, object variants, object produced_at):
    """One response per certificate and variant, as records. Releases the GIL for the whole batch."""
    cdef _Batch batch
    # Tuples of our own: they keep the octets alive that the batch points into.
    cdef list held = [tuple(status) for status in statuses]
    cdef list encoded = []
    batch = _Batch(key, variants, len(held), times.moment("produced_at", produced_at))
    batch.use(profile)
    for status in held:
        encoded.append(batch.add(status))
    batch.sign()
    return [read_records(record) for record in encoded]


cdef const Algorithm* algorithm_for(const Constants* profile, PrivateKey key) except NULL:
    cdef const Algorithm* algorithm = key.find(&profile.signature_algorithm)
    if algorithm == NULL:
        raise ValueError(f"a key of {key.name} doesn't sign with the algorithm that this profile names")
    return algorithm


cdef _fill(
    Single* single,
    object variant,
    bytes serial,
    object cert_status,
    object revocation_time,
    object reason,
    object this_update,
    object next_update,
    bytes extensions,
):
    """Check one status and point into its octets, which the caller keeps alive."""
    single.index = index_of(variant)
    if single.index < 0:
        raise ValueError(f"variant {variant} is none of ours")
    if serial is None or len(serial) > MAX_SERIAL or not der.is_minimal_integer(serial, len(serial)):
        raise ValueError(f"a serial is the content of a minimal INTEGER, 1 to {MAX_SERIAL} octets")
    der.whole("cert_status", cert_status)
    der.whole("reason", reason)
    if not GOOD <= cert_status <= UNKNOWN:
        raise ValueError(f"cert_status {cert_status} is none of good, revoked and unknown")
    single.this_update = times.moment("this_update", this_update)
    single.next_update = times.moment("next_update", next_update)
    if not 0 <= single.next_update - single.this_update < <int64_t> 1 << 32:
        raise ValueError("next_update is before this_update, or too far from it")
    single.revocation_time = -1
    if cert_status == REVOKED:
        single.revocation_time = times.moment("revocation_time", revocation_time)
        if not -1 <= reason <= 10 or reason in (7, 8):
            raise ValueError(f"reason {reason} isn't a CRLReason of a status")
    elif revocation_time != -1 or reason != -1:
        raise ValueError("a revocation time or reason, but not revoked")
    if extensions is None or len(extensions) > MAX_SINGLE_EXTENSIONS:
        raise ValueError(f"single extensions of more than {MAX_SINGLE_EXTENSIONS} octets")
    if not der.is_extensions(extensions, len(extensions)):
        raise ValueError("single extensions that aren't DER Extension values one after the other")
    single.serial = span(serial)
    single.cert_status = cert_status
    single.reason = reason
    single.extensions = span(extensions)


cdef bytes _response(const Constants* profile, bytes tbs, bytes signature):
    """DER of the OCSPResponse with these parts."""
    cdef Span data = span(tbs)
    cdef size_t room = profile.size + data.size + len(signature)
    cdef unsigned char* buffer = <unsigned char*> malloc(room)
    cdef Out out
    if buffer == NULL:
        raise MemoryError
    try:
        out = der.writer(buffer, room)
        put_signature(&out, profile, signature, len(signature), False)
        der.put_span(&out, &data)
        put_response(&out, buffer + room)
        if out.full:
            raise SigningFailed("the response is longer than was reckoned")
        return PyBytes_FromStringAndSize(<char*> out.position, der.written(&out, buffer + room))
    finally:
        free(buffer)


ctypedef struct Task:
    Single single
    unsigned char* tag          # where the certificate tag goes in the record
    unsigned char* signatures   # where the variants and their signatures go


cdef class _Batch:
    """Records that are being signed: made whole under the GIL, then their tags and signatures filled in without it.

    The octets that `add` returns must be kept, unseen by others, until `sign` has returned.
    """

    cdef const Constants* profile   # borrowed: whoever signs holds the SigningProfile
    cdef PrivateKey key
    cdef const Algorithm* algorithm
    cdef Task* tasks
    cdef unsigned char* scratch
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int[VARIANTS] variants
    cdef int variant_count
    cdef int64_t produced_at
    cdef size_t signature_size
    cdef size_t room            # for the longest ResponseData

    def __cinit__(
        self, PrivateKey key, object variants, Py_ssize_t capacity, int64_t produced_at
    ):
        self.key = key
        self.capacity = capacity
        self.produced_at = produced_at
        for variant in sorted(set(variants)):
            if index_of(variant) < 0:
                raise ValueError(f"variant {variant} is none of ours")
            self.variants[self.variant_count] = variant
            self.variant_count += 1
        if self.variant_count == 0:
            raise ValueError("no variants to sign for")
        self.tasks = <Task*> calloc(capacity or 1, sizeof(Task))
        if self.tasks == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scratch)
        free(self.tasks)

    cdef int use(self, const Constants* profile) except -1:
        """Sign under this profile; to be called once, first."""
        self.profile = profile
        self.algorithm = algorithm_for(profile, self.key)
        self.signature_size = self.key.signature_size(self.algorithm)
        self.room = profile.size
        return 0

    cdef bytes add(self, tuple status):
        """The record of one status, without its tag and signatures."""
        cdef Task* task = &self.tasks[self.count]
        cdef Single* single = &task.single
        cdef RecordView view
        cdef bytes encoded
        cdef unsigned char* octets
        cdef unsigned char[CERTIFICATE_TAG] no_tag
        cdef size_t start
        serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of, extensions = status
        _fill(
            single,
            self.variants[0],
            serial,
            cert_status,
            revocation_time,
            reason,
            this_update,
            next_update,
            extensions,
        )
        if not 0 <= self.produced_at - single.this_update < <int64_t> 1 << 32:
            raise ValueError("produced_at is before this_update, or too far from it")
        set_version(&view, epoch, number, as_of)
        memset(no_tag, 0, CERTIFICATE_TAG)
        view.cert_status = single.cert_status
        view.reason = single.reason if single.reason > 0 else -1
        view.revocation_time = single.revocation_time
        view.this_update = single.this_update
        view.next_update = single.next_update
        view.produced_at = self.produced_at
        view.profile_id = self.profile.id
        view.certificate_tag = no_tag
        view.extensions = single.extensions
        view.count = self.variant_count
        view.signature_size = self.signature_size
        start = fixed_size(&view)
        encoded = PyBytes_FromStringAndSize(NULL, start + self.variant_count * (1 + self.signature_size))
        octets = <unsigned char*> <char*> encoded
        write_fixed(octets, &view)
        task.tag = octets + TAG_OFFSET
        task.signatures = octets + start
        self.room = max(
            self.room, self.profile.size + MAX_PREFIX + single.serial.size + single.extensions.size
        )
        self.count += 1
        return encoded

    cdef sign(self):
        """Sign all that was added, without the GIL.

        Raises:
            SigningFailed: libcrypto refused.
        """
        cdef SigningContext signing
        cdef Py_ssize_t index
        cdef bint done = True
        self.scratch = <unsigned char*> malloc(self.room)
        if self.scratch == NULL:
            raise MemoryError
        self.key.take(self.algorithm, &signing)
        try:
            with nogil:
                for index in range(self.count):
                    if not self.sign_one(&self.tasks[index], &signing):
                        done = False
                        break
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
        finally:
            self.key.give_back(&signing)

    cdef bint sign_one(self, Task* task, SigningContext* signing) noexcept nogil:
        """Fill in the tag and the signatures of one record; False when libcrypto refuses."""
        cdef const Constants* profile = self.profile
        cdef unsigned char[SHA256_OCTETS] digest
        cdef unsigned char[MAX_SIGNATURE] signature
        cdef unsigned char* target = task.signatures
        cdef const unsigned char* end = self.scratch + self.room
        cdef size_t size
        cdef int which
        cdef Out out
        if not sha256_of_two(signing.hasher, &profile.issuer_tag, &task.single.serial, digest):
            return False
        memcpy(task.tag, digest, CERTIFICATE_TAG)
        for which in range(self.variant_count):
            task.single.index = index_of(self.variants[which])
            out = der.writer(self.scratch, self.room)
            put_response_data(&out, profile, &task.single, 1, self.produced_at, NULL)
            if out.full or not sign_octets(signing, out.position, der.written(&out, end), signature, &size):
                return False
            target[0] = <unsigned char> self.variants[which]
            if profile.algorithm.coordinate:
                if not ecdsa.split_signature(signature, size, target + 1, profile.algorithm.coordinate):
                    return False
            elif size == self.signature_size:
                memcpy(target + 1, signature, size)
            else:
                return False
            target += 1 + self.signature_size
        return True
