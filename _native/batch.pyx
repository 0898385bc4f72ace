"""Signing records of many certificates in a batch."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, ecdsa, times
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm, SigningContext, sha256_of_two, sign_octets
from responder._native.copied cimport CopiedStatus, CopiedStatuses, is_good_then
from responder._native.der cimport Out
from responder._native.errors cimport drain_errors
from responder._native.keys cimport PrivateKey
from responder._native.record_format cimport (
    CERTIFICATE_TAG,
    GOOD,
    TAG_OFFSET,
    VARIANTS,
    RecordView,
    fixed_size,
    index_of,
    write_fixed,
)
from responder._native.records cimport read_records, set_version
from responder._native.render cimport MAX_PREFIX, SHA256_OCTETS, Constants, Single, put_response_data
from responder._native.sign cimport MAX_SERIAL, algorithm_for, fill_single

from responder.errors import SigningFailed


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


cdef list sign_goods(
    const Constants* profile,
    PrivateKey key,
    CopiedStatuses statuses,
    object variants,
    object this_update,
    object next_update,
    object now,
):
    """The same of those that are good at `now`, in microseconds; None for the others. Releases the GIL likewise."""
    cdef _Batch batch = _Batch(key, variants, statuses.count, times.moment("produced_at", now // 1000000))
    cdef Single common
    cdef RecordView version
    cdef Py_ssize_t index
    cdef int64_t moment = now
    cdef list encoded = []
    batch.use(profile)
    fill_single(&common, batch.variants[0], b"\x00", GOOD, -1, -1, this_update, next_update, b"")
    set_version(&version, statuses.statement_epoch, 0, statuses.statement_as_of)
    for index in range(statuses.count):
        if is_good_then(&statuses.rows[index], moment):
            encoded.append(batch.add_good(&statuses.rows[index], &common, &version))
        else:
            encoded.append(None)
    batch.sign()
    return [None if record is None else read_records(record) for record in encoded]


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
        cdef Single* single = &self.tasks[self.count].single
        cdef RecordView view
        serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of, extensions = status
        fill_single(
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
        set_version(&view, epoch, number, as_of)
        return self.put(&view)

    cdef bytes add_good(self, const CopiedStatus* status, const Single* common, const RecordView* version):
        """The same of one that is good, as of its statement; None where its serial or its number can't be encoded."""
        cdef Single* single = &self.tasks[self.count].single
        cdef RecordView view
        if status.number < 0 or status.serial.size > MAX_SERIAL:
            return None
        if not der.is_minimal_integer(status.serial.data, status.serial.size):
            return None
        single[0] = common[0]
        single.index = index_of(self.variants[0])
        single.serial = status.serial
        view.epoch, view.as_of = version.epoch, version.as_of
        view.number = <uint64_t> status.number
        return self.put(&view)

    cdef bytes put(self, RecordView* view):
        """The record of the status that is next, whose version `view` has."""
        cdef Task* task = &self.tasks[self.count]
        cdef Single* single = &task.single
        cdef bytes encoded
        cdef unsigned char* octets
        cdef unsigned char[CERTIFICATE_TAG] no_tag
        cdef size_t start
        if not 0 <= self.produced_at - single.this_update < <int64_t> 1 << 32:
            raise ValueError("produced_at is before this_update, or too far from it")
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
        view.is_verbatim = False
        start = fixed_size(view)
        encoded = PyBytes_FromStringAndSize(NULL, start + self.variant_count * (1 + self.signature_size))
        octets = <unsigned char*> <char*> encoded
        write_fixed(octets, view)
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
