"""What a response is made of, and the encoder. C-level parts need no GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t

from responder._native cimport libcrypto
from responder._native.algorithms cimport Algorithm
from responder._native.der cimport Out, Span
from responder._native.record_format cimport VARIANTS, RecordView

cdef enum:
    MAX_PREFIX = 160   # AlgorithmIdentifier and two SHA-512 hashes, with their headers
    SHA256_OCTETS = 32
    # Everything in a response that isn't counted one by one: headers, times, statuses, the DER of an ECDSA signature.
    SLACK = 256

# What is the same for all answers of a signer, as views into the SigningProfile that owns it.
ctypedef struct Constants:
    const unsigned char* id
    const Algorithm* algorithm
    Span issuer_tag
    Span signature_algorithm
    Span responder_id
    Span extensions          # of the response
    Span certs               # the whole field with its tag, or nothing
    size_t size              # how much room they take in a response, with every header
    unsigned char[VARIANTS][MAX_PREFIX] prefix   # what stands before the serial in a CertID
    size_t[VARIANTS] prefix_size

# One SingleResponse to be.
ctypedef struct Single:
    int index                # of the variant, see index_of
    Span serial
    int cert_status
    int64_t revocation_time
    int reason               # CRLReason; 0 and -1 for none
    int64_t this_update
    int64_t next_update
    Span extensions

cdef enum Rendering:
    RENDERED
    NO_SUCH_VARIANT
    OTHER_PROFILE
    OTHER_CERTIFICATE
    OTHER_ALGORITHM
    NO_ROOM
    NO_DIGEST

cdef inline bint is_of_algorithm(const Constants* profile, const RecordView* view) noexcept nogil:
    """Whether a record's signatures are as long as the profile's algorithm makes them, where that is known."""
    return (
        view.is_verbatim
        or profile.algorithm.coordinate == 0
        or view.signature_size == 2 * profile.algorithm.coordinate
    )


# How much room a rendered response may take, at most.
cdef size_t room_for(const Constants* profile, const RecordView* view, const Span* serial) noexcept nogil
# Whether a record is this profile's, of this certificate, and has the variant: RENDERED, and its signature; or why not.
cdef Rendering check_record(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    libcrypto.EVP_MD_CTX* digester,
    Span* signature,
) noexcept nogil
# Write the whole OCSPResponse of a record, backward from the end of `out`.
cdef Rendering render_record(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    libcrypto.EVP_MD_CTX* digester,
    Out* out,
) noexcept nogil

# The same for a record that `check_record` let pass, or whose certificate and variant are known to be right: it reads
# no more than the profile and the record, and gives its signature.
cdef Rendering render_checked(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    const Span* signature,
    Out* out,
) noexcept nogil

# What the SingleResponse of a record says.
cdef void set_single(Single* single, const RecordView* view, int variant, const Span* serial) noexcept nogil
# ResponseData, what is signed; `nonce` may be NULL.
cdef void put_response_data(
    Out* out, const Constants* profile, const Single* singles, int count, int64_t produced_at, const Span* nonce
) noexcept nogil
# What follows it in a BasicOCSPResponse: signatureAlgorithm, signature, certs.
cdef void put_signature(
    Out* out, const Constants* profile, const unsigned char* signature, size_t size, bint as_coordinates
) noexcept nogil
# OCSPResponse, successful, around the parts of a BasicOCSPResponse that were written since `end`.
cdef void put_response(Out* out, const unsigned char* end) noexcept nogil
# DER of ResponseData, which needs no more than `room`.
cdef bytes response_data(
    const Constants* profile, const Single* singles, int count, int64_t produced_at, const Span* nonce, size_t room
)
