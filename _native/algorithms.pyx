"""Signature algorithms, and the signing of octets with them.

ECDSA and RSA sign a digest in a context that is used again and again, which is the cheapest way; EdDSA and ML-DSA take
the octets themselves.
"""

cimport cython
from libc.stddef cimport size_t
from libc.string cimport memcmp, strcmp

from responder._native cimport libcrypto
from responder._native.der cimport Span
from responder._native.errors cimport drain_errors

cdef enum:
    ONE_SHOT = 0   # the algorithm takes the octets themselves, and hashes them, if at all
    SHA256 = 1
    SHA384 = 2
    SHA512 = 3
    DIGESTS = 4
    MAX_DIGEST = 64

cdef libcrypto.EVP_MD* _digests[DIGESTS]
_digests[ONE_SHOT] = NULL
_digests[SHA256] = libcrypto.EVP_MD_fetch(NULL, b"SHA256", NULL)
_digests[SHA384] = libcrypto.EVP_MD_fetch(NULL, b"SHA384", NULL)
_digests[SHA512] = libcrypto.EVP_MD_fetch(NULL, b"SHA512", NULL)
if _digests[SHA256] == NULL or _digests[SHA384] == NULL or _digests[SHA512] == NULL:
    raise ImportError(f"libcrypto offers no SHA-2: {drain_errors()}")

cdef enum:
    NO_PADDING = 0
    PKCS1 = 1
    PSS = 2
    ALGORITHMS = 16

# RSASSA-PSS with SHA-256, MGF1 with SHA-256 and 32 octets of salt.
cdef const unsigned char* PSS_SHA256 = (
    b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34"
    b"\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
    b"\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
    b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
    b"\xa2\x03\x02\x01\x20"
)

# A further algorithm is a row. The first that fits a key is the key's own; the others are for who asks for them.
# Identifiers of ECDSA and RSA byte for byte as BR 7.1.3.2 has them; EdDSA RFC 8410 §3, ML-DSA RFC 9881 §2.
cdef Algorithm[ALGORITHMS] _algorithms = [
    Algorithm(b"ecdsa-p256", b"EC", b"prime256v1", SHA256, NO_PADDING, 32,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", 12),
    Algorithm(b"ecdsa-p384", b"EC", b"secp384r1", SHA384, NO_PADDING, 48,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", 12),
    Algorithm(b"ecdsa-p521", b"EC", b"secp521r1", SHA512, NO_PADDING, 66,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04", 12),
    # RFC 5639 by the identifiers of RFC 5758. Rows of one identifier have one size of coordinates: what is signed with
    # P512 is kept as if with P-521.
    Algorithm(b"ecdsa-brainpool256", b"EC", b"brainpoolP256r1", SHA256, NO_PADDING, 32,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", 12),
    Algorithm(b"ecdsa-brainpool384", b"EC", b"brainpoolP384r1", SHA384, NO_PADDING, 48,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", 12),
    Algorithm(b"ecdsa-brainpool512", b"EC", b"brainpoolP512r1", SHA512, NO_PADDING, 66,
              b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04", 12),
    Algorithm(b"rsa", b"RSA", NULL, SHA256, PKCS1, 0,
              b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", 15),
    Algorithm(b"rsa", b"RSA", NULL, SHA384, PKCS1, 0,
              b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00", 15),
    Algorithm(b"rsa", b"RSA", NULL, SHA512, PKCS1, 0,
              b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00", 15),
    Algorithm(b"rsa", b"RSA", NULL, SHA256, PSS, 0, PSS_SHA256, 67),
    Algorithm(b"rsa", b"RSA-PSS", NULL, SHA256, PSS, 0, PSS_SHA256, 67),
    Algorithm(b"ed25519", b"ED25519", NULL, ONE_SHOT, NO_PADDING, 0, b"\x30\x05\x06\x03\x2b\x65\x70", 7),
    Algorithm(b"ed448", b"ED448", NULL, ONE_SHOT, NO_PADDING, 0, b"\x30\x05\x06\x03\x2b\x65\x71", 7),
    Algorithm(b"ml-dsa-44", b"ML-DSA-44", NULL, ONE_SHOT, NO_PADDING, 0,
              b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11", 13),
    Algorithm(b"ml-dsa-65", b"ML-DSA-65", NULL, ONE_SHOT, NO_PADDING, 0,
              b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12", 13),
    Algorithm(b"ml-dsa-87", b"ML-DSA-87", NULL, ONE_SHOT, NO_PADDING, 0,
              b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13", 13),
]


cdef const Algorithm* find_algorithm(const Span* identifier) noexcept nogil:
    cdef int row
    for row in range(ALGORITHMS):
        if is_named(&_algorithms[row], identifier):
            return &_algorithms[row]
    return NULL


cdef const Algorithm* find_algorithm_of_key(libcrypto.EVP_PKEY* key, const Span* identifier) noexcept nogil:
    cdef int row
    for row in range(ALGORITHMS):
        if is_named(&_algorithms[row], identifier) and fits(key, &_algorithms[row]):
            return &_algorithms[row]
    return NULL


cdef inline bint is_named(const Algorithm* algorithm, const Span* identifier) noexcept nogil:
    return identifier.size == algorithm.identifier_size and (
        memcmp(identifier.data, algorithm.identifier, identifier.size) == 0
    )


cdef const Algorithm* algorithm_of_key(libcrypto.EVP_PKEY* key, int index) noexcept:
    cdef int row
    for row in range(ALGORITHMS):
        if fits(key, &_algorithms[row]):
            if index == 0:
                return &_algorithms[row]
            index -= 1
    return NULL


cdef bint fits(libcrypto.EVP_PKEY* key, const Algorithm* algorithm) noexcept nogil:
    """Whether a key is of the algorithm's type and, where that has one, on its curve."""
    cdef char[64] group
    cdef size_t length = 0
    if libcrypto.EVP_PKEY_is_a(key, algorithm.key_type) != 1:
        return False
    if algorithm.group == NULL:
        return True
    return (
        libcrypto.EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1
        and strcmp(group, algorithm.group) == 0
    )


cdef bint prepare(libcrypto.EVP_PKEY_CTX* context, const Algorithm* algorithm) noexcept nogil:
    """Set digest and padding of a context that was initialised to sign or verify."""
    if libcrypto.EVP_PKEY_CTX_set_signature_md(context, _digests[algorithm.digest]) != 1:
        return False
    if algorithm.padding == PKCS1:
        return libcrypto.EVP_PKEY_CTX_set_rsa_padding(context, libcrypto.RSA_PKCS1_PADDING) == 1
    if algorithm.padding == PSS:
        return (
            libcrypto.EVP_PKEY_CTX_set_rsa_padding(context, libcrypto.RSA_PKCS1_PSS_PADDING) == 1
            and libcrypto.EVP_PKEY_CTX_set_rsa_mgf1_md(context, _digests[algorithm.digest]) == 1
            and libcrypto.EVP_PKEY_CTX_set_rsa_pss_saltlen(context, libcrypto.RSA_PSS_SALTLEN_DIGEST) == 1
        )
    return True


cdef bint open_signing(SigningContext* signing, libcrypto.EVP_PKEY* key, const Algorithm* algorithm) noexcept nogil:
    """Make libcrypto's state; False when it refuses. `close_signing` is harmless, and needed, in both cases."""
    signing.algorithm = algorithm
    signing.key = key
    signing.context = NULL
    signing.digester = libcrypto.EVP_MD_CTX_new()
    signing.hasher = libcrypto.EVP_MD_CTX_new()
    if signing.digester == NULL or signing.hasher == NULL:
        return False
    if algorithm.digest == ONE_SHOT:
        return begin_anew(signing)
    signing.context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)
    return (
        signing.context != NULL
        and libcrypto.EVP_PKEY_sign_init(signing.context) == 1
        and prepare(signing.context, algorithm)
    )


cdef bint begin_anew(SigningContext* signing) noexcept nogil:
    """For algorithms that take the octets themselves: a context of the key, whatever was in it."""
    return (
        libcrypto.EVP_MD_CTX_reset(signing.digester) == 1
        and libcrypto.EVP_DigestSignInit_ex(signing.digester, NULL, NULL, NULL, NULL, signing.key, NULL) == 1
    )


cdef void close_signing(SigningContext* signing) noexcept nogil:
    libcrypto.EVP_PKEY_CTX_free(signing.context)
    libcrypto.EVP_MD_CTX_free(signing.digester)
    libcrypto.EVP_MD_CTX_free(signing.hasher)
    signing.context = NULL
    signing.digester = NULL
    signing.hasher = NULL


cdef bint sign_octets(
    SigningContext* signing, const unsigned char* data, size_t size, unsigned char* signature, size_t* length
) noexcept nogil:
    cdef unsigned char[MAX_DIGEST] octets
    cdef unsigned int digest_size = 0
    length[0] = MAX_SIGNATURE
    if signing.algorithm.digest == ONE_SHOT:
        # Begun again each time: libcrypto takes a context for used up after one signature. With the key that it has, that
        # costs a twentieth of a new one.
        return (
            (libcrypto.EVP_DigestSignInit_ex(signing.digester, NULL, NULL, NULL, NULL, NULL, NULL) == 1 or begin_anew(signing))
            and libcrypto.EVP_DigestSign(signing.digester, signature, length, data, size) == 1
        )
    return (
        libcrypto.EVP_DigestInit_ex2(signing.digester, _digests[signing.algorithm.digest], NULL) == 1
        and libcrypto.EVP_DigestUpdate(signing.digester, data, size) == 1
        and libcrypto.EVP_DigestFinal_ex(signing.digester, octets, &digest_size) == 1
        and libcrypto.EVP_PKEY_sign(signing.context, signature, length, octets, digest_size) == 1
    )


cdef bint verify_octets(
    libcrypto.EVP_PKEY* key, const Algorithm* algorithm, const Span* text, const Span* signature
) noexcept nogil:
    """Whether this is a signature of `text`; also False when libcrypto refuses."""
    cdef unsigned char[MAX_DIGEST] octets
    cdef unsigned int digest_size = 0
    cdef libcrypto.EVP_PKEY_CTX* context = NULL
    cdef libcrypto.EVP_MD_CTX* digester = libcrypto.EVP_MD_CTX_new()
    cdef bint matches = False
    if digester == NULL:
        return False
    if algorithm.digest == ONE_SHOT:
        matches = (
            libcrypto.EVP_DigestVerifyInit_ex(digester, NULL, NULL, NULL, NULL, key, NULL) == 1
            and libcrypto.EVP_DigestVerify(digester, signature.data, signature.size, text.data, text.size) == 1
        )
    else:
        context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)
        matches = (
            context != NULL
            and libcrypto.EVP_PKEY_verify_init(context) == 1
            and prepare(context, algorithm)
            and libcrypto.EVP_DigestInit_ex2(digester, _digests[algorithm.digest], NULL) == 1
            and libcrypto.EVP_DigestUpdate(digester, text.data, text.size) == 1
            and libcrypto.EVP_DigestFinal_ex(digester, octets, &digest_size) == 1
            and libcrypto.EVP_PKEY_verify(context, signature.data, signature.size, octets, digest_size) == 1
        )
        libcrypto.EVP_PKEY_CTX_free(context)
    libcrypto.EVP_MD_CTX_free(digester)
    return matches


cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context, const Span* first, const Span* second, unsigned char* digest
) noexcept nogil:
    """SHA-256 of two strings one after the other; 32 octets go to `digest`.

    `context` must never have signed: EVP_DigestInit_ex2 goes on with the signature then, which EdDSA refuses.
    """
    return (
        libcrypto.EVP_DigestInit_ex2(context, _digests[SHA256], NULL) == 1
        and libcrypto.EVP_DigestUpdate(context, first.data, first.size) == 1
        and libcrypto.EVP_DigestUpdate(context, second.data, second.size) == 1
        and libcrypto.EVP_DigestFinal_ex(context, digest, NULL) == 1
    )


@cython.final
cdef class Digester:
    def __cinit__(self):
        self.context = libcrypto.EVP_MD_CTX_new()
        if self.context == NULL:
            raise MemoryError

    def __dealloc__(self):
        libcrypto.EVP_MD_CTX_free(self.context)
