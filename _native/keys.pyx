"""Private keys and signatures. A libcrypto pointer has one owner: `PrivateKey` for keys, the caller of
`take_context` for a context until it gives it back."""

cimport cython
from libc.stddef cimport size_t
from libc.string cimport memcmp

from responder._native cimport libcrypto
from responder._native.der cimport Span, span
from responder._native.errors cimport drain_errors

from responder.errors import SigningFailed

cdef libcrypto.EVP_MD* SHA256 = libcrypto.EVP_MD_fetch(NULL, b"SHA256", NULL)
if SHA256 == NULL:
    raise ImportError(f"libcrypto offers no SHA-256: {drain_errors()}")

cdef enum:
    ALGORITHMS = 2

# All of them sign a SHA-256 digest. A further one is a row here, and what `_classify` asks of its keys.
# The identifiers are ecdsa-with-SHA256 and sha256WithRSAEncryption, byte for byte as BR 7.1.3.2 wants them.
cdef Algorithm[ALGORITHMS] _algorithms = [
    Algorithm(b"EC", b"prime256v1", 32, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", 12),
    Algorithm(b"RSA", NULL, 0, b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", 15),
]

cdef enum:
    MIN_RSA_BITS = 2048
    MAX_RSA_BITS = 16384
    MAX_KEY_OCTETS = 65536

cdef object _MADE_HERE = object()
_SUPPORTED = f"supported are ECDSA on P-256 and RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"


cdef const Algorithm* find_algorithm(const Span* identifier) noexcept nogil:
    cdef int index
    for index in range(ALGORITHMS):
        if identifier.size == _algorithms[index].identifier_size and (
            memcmp(identifier.data, _algorithms[index].identifier, identifier.size) == 0
        ):
            return &_algorithms[index]
    return NULL


cdef bint sha256(
    libcrypto.EVP_MD_CTX* context, const unsigned char* data, size_t size, unsigned char* digest
) noexcept nogil:
    """SHA-256 of one string; 32 octets go to `digest`."""
    return (
        libcrypto.EVP_DigestInit_ex2(context, SHA256, NULL) == 1
        and libcrypto.EVP_DigestUpdate(context, data, size) == 1
        and libcrypto.EVP_DigestFinal_ex(context, digest, NULL) == 1
    )


cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context, const Span* first, const Span* second, unsigned char* digest
) noexcept nogil:
    """SHA-256 of two strings one after the other."""
    return (
        libcrypto.EVP_DigestInit_ex2(context, SHA256, NULL) == 1
        and libcrypto.EVP_DigestUpdate(context, first.data, first.size) == 1
        and libcrypto.EVP_DigestUpdate(context, second.data, second.size) == 1
        and libcrypto.EVP_DigestFinal_ex(context, digest, NULL) == 1
    )


cdef bint sign_digest(
    libcrypto.EVP_PKEY_CTX* context, const unsigned char* digest, unsigned char* signature, size_t* size
) noexcept nogil:
    """Sign a SHA-256 digest; `signature` has room for MAX_SIGNATURE octets."""
    size[0] = MAX_SIGNATURE
    return libcrypto.EVP_PKEY_sign(context, signature, size, digest, DIGEST_OCTETS) == 1


cdef bint prepare(libcrypto.EVP_PKEY_CTX* context, const Algorithm* algorithm) noexcept nogil:
    """Set digest and padding of a context that was initialised to sign or verify."""
    return libcrypto.EVP_PKEY_CTX_set_signature_md(context, SHA256) == 1 and (
        algorithm.coordinate != 0
        or libcrypto.EVP_PKEY_CTX_set_rsa_padding(context, libcrypto.RSA_PKCS1_PADDING) == 1
    )


@cython.final
cdef class PrivateKey:
    """One private key, owned by libcrypto. Made by `load_private_key`; safe to use from many threads."""

    def __cinit__(self, maker=None):
        if maker is not _MADE_HERE:
            raise TypeError("PrivateKey is made by load_private_key")

    def __dealloc__(self):
        libcrypto.EVP_PKEY_CTX_free(self._spare)
        libcrypto.EVP_PKEY_free(self._key)

    def __reduce__(self):
        raise TypeError("a private key is never copied")

    def sign(self, bytes message not None, /):
        """The signature as it stands in a BIT STRING (ECDSA as DER). Releases the GIL."""
        return self._sign(message, len(message))

    cdef size_t signature_size(self) noexcept:
        """How long a signature is in a record."""
        if self.algorithm.coordinate:
            return 2 * self.algorithm.coordinate
        return <size_t> libcrypto.EVP_PKEY_get_size(self._key)

    cdef bytes _sign(self, const unsigned char* message, size_t size):
        cdef unsigned char[DIGEST_OCTETS] digest
        cdef unsigned char[MAX_SIGNATURE] signature
        cdef size_t length = 0
        cdef libcrypto.EVP_MD_CTX* digester = NULL
        cdef libcrypto.EVP_PKEY_CTX* context = self.take_context()
        cdef bint done
        try:
            with nogil:
                digester = libcrypto.EVP_MD_CTX_new()
                done = (
                    digester != NULL
                    and sha256(digester, message, size, digest)
                    and sign_digest(context, digest, signature, &length)
                )
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
            return signature[:length]
        finally:
            libcrypto.EVP_MD_CTX_free(digester)
            self.give_back(context)

    cdef libcrypto.EVP_PKEY_CTX* take_context(self) except NULL:
        """A context ready to sign digests, for one thread until it gives it back: the spare one, or a new one.

        Needs the GIL. Clears the error queue, so that what is drained after a failure is about this signature.
        """
        cdef libcrypto.EVP_PKEY_CTX* context = self._spare
        libcrypto.ERR_clear_error()
        if context != NULL:
            self._spare = NULL
            return context
        context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, self._key, NULL)
        if (
            context == NULL
            or libcrypto.EVP_PKEY_sign_init(context) != 1
            or not prepare(context, self.algorithm)
        ):
            libcrypto.EVP_PKEY_CTX_free(context)
            raise SigningFailed(f"libcrypto can't sign with this key: {drain_errors()}")
        return context

    cdef void give_back(self, libcrypto.EVP_PKEY_CTX* context) noexcept:
        """Keep it for the next, or free it. Needs the GIL."""
        if self._spare == NULL:
            self._spare = context
        else:
            libcrypto.EVP_PKEY_CTX_free(context)


def load_private_key(bytes pkcs8 not None, /):
    """Take over a DER PrivateKeyInfo (unencrypted)."""
    cdef const unsigned char* data = pkcs8
    cdef const unsigned char* end = data + len(pkcs8)
    cdef libcrypto.PKCS8_PRIV_KEY_INFO* info = NULL
    cdef PrivateKey key = PrivateKey.__new__(PrivateKey, _MADE_HERE)
    if len(pkcs8) > MAX_KEY_OCTETS:
        raise ValueError(f"not a private key: over {MAX_KEY_OCTETS} octets")
    libcrypto.ERR_clear_error()
    info = libcrypto.d2i_PKCS8_PRIV_KEY_INFO(NULL, &data, len(pkcs8))
    try:
        if info == NULL:
            raise ValueError(f"not a DER PrivateKeyInfo: {drain_errors()}")
        if data != end:
            raise ValueError("octets follow the PrivateKeyInfo")
        key._key = libcrypto.EVP_PKCS82PKEY(info)
        if key._key == NULL:
            raise ValueError(f"not a private key that libcrypto reads: {drain_errors()}; {_SUPPORTED}")
    finally:
        libcrypto.PKCS8_PRIV_KEY_INFO_free(info)
    _classify(key)
    key.public_key = _public_half(key._key)
    return key


cdef _classify(PrivateKey key):
    """Set what depends on the key's type.

    Raises:
        ValueError: a type, a curve or a size that we don't sign with.
    """
    cdef int bits = libcrypto.EVP_PKEY_get_bits(key._key)
    cdef int index
    cdef bytes group
    for index in range(ALGORITHMS):
        if libcrypto.EVP_PKEY_is_a(key._key, _algorithms[index].key_type):
            key.algorithm = &_algorithms[index]
            break
    else:
        raise ValueError(f"a key of type {_type_name(key._key)}; {_SUPPORTED}")
    if key.algorithm.group != NULL:
        group = _group_name(key._key)
        if group != <bytes> key.algorithm.group:
            raise ValueError(f"an EC key on {group.decode('ascii', 'replace')}; {_SUPPORTED}")
        key.name = "ecdsa-p256"
    else:
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise ValueError(f"an RSA key of {bits} bits; {_SUPPORTED}")
        key.name = f"rsa-{bits}" if bits in (2048, 3072, 4096) else "rsa-other"
    key.signature_algorithm = key.algorithm.identifier[:key.algorithm.identifier_size]


cdef str _type_name(libcrypto.EVP_PKEY* key):
    cdef const char* name = libcrypto.EVP_PKEY_get0_type_name(key)
    return "unknown" if name == NULL else (<bytes> name).decode("ascii", "replace")


cdef bytes _group_name(libcrypto.EVP_PKEY* key):
    cdef char[64] group
    cdef size_t length = 0
    if libcrypto.EVP_PKEY_get_group_name(key, group, sizeof(group), &length) != 1:
        return b"a curve without a name"
    return group[:length]


cdef bytes _public_half(libcrypto.EVP_PKEY* key):
    cdef unsigned char* der = NULL
    cdef int size = libcrypto.i2d_PUBKEY(key, &der)
    if size <= 0:
        raise ValueError(f"the public half can't be encoded: {drain_errors()}")
    try:
        return der[:size]
    finally:
        libcrypto.OPENSSL_free(der)


def verify(
    bytes spki not None, bytes signature_algorithm not None, bytes message not None, bytes signature not None, /
):
    """Check a signature of one of our algorithms. Releases the GIL."""
    cdef const unsigned char* data = spki
    cdef const unsigned char* end = data + len(spki)
    cdef Span identifier = span(signature_algorithm)
    cdef Span text = span(message)
    cdef Span signed = span(signature)
    cdef unsigned char[DIGEST_OCTETS] digest
    cdef libcrypto.EVP_PKEY* key = NULL
    cdef libcrypto.EVP_PKEY_CTX* context = NULL
    cdef libcrypto.EVP_MD_CTX* digester = NULL
    cdef const Algorithm* algorithm = find_algorithm(&identifier)
    cdef bint matches
    if algorithm == NULL:
        raise ValueError("a signature algorithm that isn't one of ours")
    if len(spki) > MAX_KEY_OCTETS:
        raise ValueError(f"not a SubjectPublicKeyInfo: over {MAX_KEY_OCTETS} octets")
    libcrypto.ERR_clear_error()
    try:
        key = libcrypto.d2i_PUBKEY(NULL, &data, len(spki))
        if key == NULL:
            raise ValueError(f"not a SubjectPublicKeyInfo: {drain_errors()}")
        if data != end:
            raise ValueError("octets follow the SubjectPublicKeyInfo")
        if not libcrypto.EVP_PKEY_is_a(key, algorithm.key_type):
            raise ValueError("the key isn't of the signature algorithm's type")
        with nogil:
            context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)
            digester = libcrypto.EVP_MD_CTX_new()
            matches = (
                context != NULL
                and digester != NULL
                and libcrypto.EVP_PKEY_verify_init(context) == 1
                and prepare(context, algorithm)
                and sha256(digester, text.data, text.size, digest)
                and libcrypto.EVP_PKEY_verify(context, signed.data, signed.size, digest, DIGEST_OCTETS) == 1
            )
        if not matches:
            raise ValueError(f"the signature doesn't verify: {drain_errors()}")
    finally:
        libcrypto.EVP_MD_CTX_free(digester)
        libcrypto.EVP_PKEY_CTX_free(context)
        libcrypto.EVP_PKEY_free(key)
