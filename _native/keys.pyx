"""Private keys and signatures. A libcrypto pointer has one owner: `PrivateKey` for keys, the caller of
`take_context` for a context until it gives it back."""

from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.errors cimport drain_errors

from responder.errors import SigningFailed

# AlgorithmIdentifiers, byte for byte as BR 7.1.3.2 wants them.
cdef bytes ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
cdef bytes SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")

cdef libcrypto.EVP_MD* SHA256 = libcrypto.EVP_MD_fetch(NULL, b"SHA256", NULL)
if SHA256 == NULL:
    raise ImportError(f"libcrypto offers no SHA-256: {drain_errors()}")

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384


cdef bint sha256(
    libcrypto.EVP_MD_CTX* context, const unsigned char* data, size_t size, unsigned char* digest
) noexcept nogil:
    return sha256_of_two(context, data, size, NULL, 0, digest)


cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context,
    const unsigned char* first,
    size_t first_size,
    const unsigned char* second,
    size_t second_size,
    unsigned char* digest,
) noexcept nogil:
    """SHA-256 over two strings one after the other; 32 octets go to `digest`."""
    return (
        libcrypto.EVP_DigestInit_ex2(context, SHA256, NULL) == 1
        and libcrypto.EVP_DigestUpdate(context, first, first_size) == 1
        and (second_size == 0 or libcrypto.EVP_DigestUpdate(context, second, second_size) == 1)
        and libcrypto.EVP_DigestFinal_ex(context, digest, NULL) == 1
    )


cdef class PrivateKey:
    """One private key, owned by libcrypto. Made by `load_private_key`; safe to use from many threads."""

    def __cinit__(self):
        self._key = NULL
        self._spare = NULL

    def __init__(self):
        raise TypeError("PrivateKey is made by load_private_key")

    def __dealloc__(self):
        libcrypto.EVP_PKEY_CTX_free(self._spare)
        libcrypto.EVP_PKEY_free(self._key)

    def __reduce__(self):
        raise TypeError("a private key is never copied")

    def sign(self, bytes message not None, /):
        """The signature as it stands in a BIT STRING (ECDSA as DER). Releases the GIL."""
        return self._sign(message, len(message))

    cdef bytes _sign(self, const unsigned char* message, size_t size):
        cdef unsigned char digest[DIGEST_OCTETS]
        cdef unsigned char signature[MAX_SIGNATURE]
        cdef size_t length = sizeof(signature)
        cdef libcrypto.EVP_PKEY_CTX* context = NULL
        cdef libcrypto.EVP_MD_CTX* digester = NULL
        cdef bint done
        libcrypto.ERR_clear_error()
        context = self.take_context()
        try:
            with nogil:
                digester = libcrypto.EVP_MD_CTX_new()
                done = (
                    digester != NULL
                    and sha256(digester, message, size, digest)
                    and libcrypto.EVP_PKEY_sign(context, signature, &length, digest, DIGEST_OCTETS) == 1
                )
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
            return signature[:length]
        finally:
            libcrypto.EVP_MD_CTX_free(digester)
            self.give_back(context)

    cdef libcrypto.EVP_PKEY_CTX* take_context(self) except NULL:
        """A context ready to sign digests, for one thread; the spare one, or a new one. Needs the GIL."""
        cdef libcrypto.EVP_PKEY_CTX* context = self._spare
        if context != NULL:
            self._spare = NULL
            return context
        context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, self._key, NULL)
        if (
            context == NULL
            or libcrypto.EVP_PKEY_sign_init(context) != 1
            or libcrypto.EVP_PKEY_CTX_set_signature_md(context, SHA256) != 1
            or (
                not self.is_ecdsa
                and libcrypto.EVP_PKEY_CTX_set_rsa_padding(context, libcrypto.RSA_PKCS1_PADDING) != 1
            )
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
    cdef PrivateKey key = PrivateKey.__new__(PrivateKey)
    if len(pkcs8) > 65536:
        raise ValueError("not a private key: over 64 KiB")
    libcrypto.ERR_clear_error()
    info = libcrypto.d2i_PKCS8_PRIV_KEY_INFO(NULL, &data, len(pkcs8))
    try:
        if info == NULL or data != end:
            raise ValueError(f"not a DER PrivateKeyInfo: {drain_errors()}")
        key._key = libcrypto.EVP_PKCS82PKEY(info)
        if key._key == NULL:
            raise ValueError(f"not a private key that libcrypto reads: {drain_errors()}")
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
    cdef char group[64]
    cdef size_t length = 0
    cdef int bits = libcrypto.EVP_PKEY_get_bits(key._key)
    supported = "supported are ECDSA on P-256 and RSA of 2048 bits or more"
    if libcrypto.EVP_PKEY_is_a(key._key, b"EC"):
        if libcrypto.EVP_PKEY_get_group_name(key._key, group, sizeof(group), &length) != 1:
            raise ValueError(f"an EC key on a curve without a name; {supported}")
        if group[:length] != b"prime256v1":
            raise ValueError(f"an EC key on {group[:length].decode()}; {supported}")
        key.is_ecdsa = True
        key.name = "ecdsa-p256"
        key.signature_algorithm = ECDSA_WITH_SHA256
    elif libcrypto.EVP_PKEY_is_a(key._key, b"RSA"):
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise ValueError(f"an RSA key of {bits} bits; {supported}, up to {MAX_RSA_BITS}")
        key.is_ecdsa = False
        key.name = f"rsa-{bits}" if bits in (2048, 3072, 4096) else "rsa-other"
        key.signature_algorithm = SHA256_WITH_RSA
    else:
        raise ValueError(f"a key of a type we don't sign with; {supported}")


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
    cdef const unsigned char* text = message
    cdef size_t text_size = len(message)
    cdef const unsigned char* signed = signature
    cdef size_t signed_size = len(signature)
    cdef unsigned char digest[DIGEST_OCTETS]
    cdef libcrypto.EVP_PKEY* key = NULL
    cdef libcrypto.EVP_PKEY_CTX* context = NULL
    cdef libcrypto.EVP_MD_CTX* digester = NULL
    cdef bint is_rsa = signature_algorithm == SHA256_WITH_RSA
    cdef bint matches
    if not is_rsa and signature_algorithm != ECDSA_WITH_SHA256:
        raise ValueError("a signature algorithm that isn't one of ours")
    libcrypto.ERR_clear_error()
    try:
        key = libcrypto.d2i_PUBKEY(NULL, &data, len(spki))
        if key == NULL or data != end:
            raise ValueError(f"not a SubjectPublicKeyInfo: {drain_errors()}")
        if not libcrypto.EVP_PKEY_is_a(key, b"RSA" if is_rsa else b"EC"):
            raise ValueError("the key isn't of the signature algorithm's type")
        with nogil:
            context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)
            digester = libcrypto.EVP_MD_CTX_new()
            matches = (
                context != NULL
                and digester != NULL
                and libcrypto.EVP_PKEY_verify_init(context) == 1
                and libcrypto.EVP_PKEY_CTX_set_signature_md(context, SHA256) == 1
                and (
                    not is_rsa
                    or libcrypto.EVP_PKEY_CTX_set_rsa_padding(context, libcrypto.RSA_PKCS1_PADDING) == 1
                )
                and sha256(digester, text, text_size, digest)
                and libcrypto.EVP_PKEY_verify(context, signed, signed_size, digest, DIGEST_OCTETS) == 1
            )
        if not matches:
            raise ValueError(f"the signature doesn't verify: {drain_errors()}")
    finally:
        libcrypto.EVP_MD_CTX_free(digester)
        libcrypto.EVP_PKEY_CTX_free(context)
        libcrypto.EVP_PKEY_free(key)
