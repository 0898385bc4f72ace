"""Private keys. A libcrypto pointer has one owner: `PrivateKey` for keys; for a `SigningContext`, the caller of `take`
until it gives it back."""

cimport cython
from libc.stddef cimport size_t
from libc.string cimport memset

from responder._native cimport libcrypto
from responder._native.algorithms cimport (
    MAX_SIGNATURE,
    Algorithm,
    SigningContext,
    algorithm_of_key,
    close_signing,
    find_algorithm,
    find_algorithm_of_key,
    open_signing,
    sign_octets,
    verify_octets,
)
from responder._native.decoder cimport Decoder
from responder._native.der cimport Span, span
from responder._native.errors cimport drain_errors

from responder.errors import SigningFailed

cdef enum:
    MIN_RSA_BITS = 2048
    MAX_RSA_BITS = 16384

cdef object _FACTORY = object()
SUPPORTED = (
    "supported are ECDSA on P-256, P-384, P-521 and brainpool P256r1, P384r1 and P512r1, RSA and RSA-PSS of "
    f"{MIN_RSA_BITS} to {MAX_RSA_BITS} bits, "
    "Ed25519, Ed448, and ML-DSA where libcrypto has it (3.5 and later)"
)


cdef Decoder _public_keys = Decoder(b"DER", b"SubjectPublicKeyInfo", libcrypto.EVP_PKEY_PUBLIC_KEY)


@cython.final
cdef class PrivateKey:
    """One private key, owned by libcrypto. Made by `key_files`; safe to use from many threads."""

    def __cinit__(self, factory=None):
        if factory is not _FACTORY:
            raise TypeError("PrivateKey is made by read_key, open_key or generate_key")
        memset(&self._spare, 0, sizeof(self._spare))

    def __dealloc__(self):
        close_signing(&self._spare)
        libcrypto.EVP_PKEY_free(self._key)

    def __reduce__(self):
        raise TypeError("a private key is never copied")

    def sign(self, bytes message not None, bytes signature_algorithm=None, /):
        """The signature as it stands in a BIT STRING (ECDSA as DER). Releases the GIL."""
        cdef const Algorithm* algorithm = self.algorithm
        cdef Span identifier
        if signature_algorithm is not None:
            identifier = span(signature_algorithm)
            algorithm = self.find(&identifier)
            if algorithm == NULL:
                raise ValueError(f"a key of {self.name} doesn't sign with this algorithm")
        return self._sign(algorithm, message, len(message))

    cdef const Algorithm* find(self, const Span* identifier) noexcept:
        """The algorithm of this identifier, or NULL when this key doesn't sign with it."""
        return find_algorithm_of_key(self._key, identifier)

    cdef size_t signature_size(self, const Algorithm* algorithm) noexcept:
        """How long a signature is in a record."""
        if algorithm.coordinate:
            return 2 * algorithm.coordinate
        return <size_t> libcrypto.EVP_PKEY_get_size(self._key)

    cdef bytes _sign(self, const Algorithm* algorithm, const unsigned char* message, size_t size):
        cdef unsigned char[MAX_SIGNATURE] signature
        cdef size_t length = 0
        cdef SigningContext signing
        cdef bint done
        self.take(algorithm, &signing)
        try:
            with nogil:
                done = sign_octets(&signing, message, size, signature, &length)
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
            return signature[:length]
        finally:
            self.give_back(&signing)

    cdef int take(self, const Algorithm* algorithm, SigningContext* signing) except -1:
        """What is needed to sign with `algorithm`, for one thread until it gives it back: the spare one, or a new one.

        Needs the GIL. Clears the error queue, so that what is drained after a failure is about this signature.
        """
        libcrypto.ERR_clear_error()
        if self._spare.algorithm == algorithm:
            signing[0] = self._spare
            self._spare.algorithm = NULL
            self._spare.context = NULL
            self._spare.digester = NULL
            self._spare.hasher = NULL
            return 0
        if not open_signing(signing, self._key, algorithm):
            close_signing(signing)
            raise SigningFailed(f"libcrypto can't sign with this key: {drain_errors()}")
        return 0

    cdef void give_back(self, SigningContext* signing) noexcept:
        """Keep it for the next, or free it. Needs the GIL."""
        if self._spare.algorithm == NULL:
            self._spare = signing[0]
        else:
            close_signing(signing)


cdef PrivateKey take_over(libcrypto.EVP_PKEY* pkey):
    """The key is ours from here on, also when it is refused."""
    cdef PrivateKey key = PrivateKey.__new__(PrivateKey, _FACTORY)
    cdef const char* provider
    key._key = pkey
    _classify(key)
    key.public_key = _public_half(key._key)
    provider = libcrypto.OSSL_PROVIDER_get0_name(libcrypto.EVP_PKEY_get0_provider(key._key))
    key.is_local = provider in (b"default", b"fips")
    if libcrypto.EVP_PKEY_is_a(key._key, b"EC") == 1:
        _check_halves(key._key)
    elif libcrypto.EVP_PKEY_is_a(key._key, b"RSA-PSS") == 1:
        try:
            key.sign(b"certstatus")
        except SigningFailed as error:
            raise ValueError(f"a PSS key that doesn't sign with SHA-256 and 32 octets of salt: {error}") from error
    return key


cdef _check_halves(libcrypto.EVP_PKEY* key):
    """Raises ValueError where the private half isn't that of the public one: an EC file holds both."""
    cdef libcrypto.EVP_PKEY_CTX* context
    cdef bint fits_together
    with nogil:
        context = libcrypto.EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL)
        fits_together = context != NULL and libcrypto.EVP_PKEY_pairwise_check(context) == 1
        libcrypto.EVP_PKEY_CTX_free(context)
    if not fits_together:
        raise ValueError(f"a private key whose public half isn't its own: {drain_errors()}")


cdef _classify(PrivateKey key):
    """Set what depends on the key's type.

    Raises:
        ValueError: a type, a curve or a size that we don't sign with.
    """
    cdef int bits = libcrypto.EVP_PKEY_get_bits(key._key)
    key.algorithm = algorithm_of_key(key._key, 0)
    if key.algorithm == NULL:
        raise ValueError(f"{_described(key._key)}; {SUPPORTED}")
    key.name = (<bytes> key.algorithm.name).decode()
    if key.name == "rsa":
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise ValueError(f"an RSA key of {bits} bits; {SUPPORTED}")
        key.name = f"rsa-{bits}" if bits in (2048, 3072, 4096) else "rsa-other"
    key.signature_algorithms = _algorithms_of(key._key)
    key.signature_algorithm = key.signature_algorithms[0]


cdef tuple _algorithms_of(libcrypto.EVP_PKEY* key):
    """The identifiers of all that a key signs with, its own first; none where it isn't one of ours."""
    cdef const Algorithm* algorithm
    cdef list identifiers = []
    while True:
        algorithm = algorithm_of_key(key, len(identifiers))
        if algorithm == NULL:
            return tuple(identifiers)
        identifiers.append(<bytes> algorithm.identifier[:algorithm.identifier_size])


cdef str _described(libcrypto.EVP_PKEY* key):
    cdef const char* name = libcrypto.EVP_PKEY_get0_type_name(key)
    cdef char[64] group
    cdef size_t length = 0
    if libcrypto.EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1:
        return f"an EC key on {(<bytes> group[:length]).decode('ascii', 'replace')}"
    return f"a key of type {'unknown' if name == NULL else (<bytes> name).decode('ascii', 'replace')}"


cdef bytes _public_half(libcrypto.EVP_PKEY* key):
    cdef unsigned char* der = NULL
    cdef int size = libcrypto.i2d_PUBKEY(key, &der)
    if size <= 0:
        raise ValueError(f"the public half can't be encoded: {drain_errors()}")
    try:
        return der[:size]
    finally:
        libcrypto.OPENSSL_free(der)


@cython.final
cdef class PublicKey:
    """One public key, owned by libcrypto. Made by `load_public_key`; safe to use from many threads."""

    def __cinit__(self, factory=None):
        if factory is not _FACTORY:
            raise TypeError("PublicKey is made by load_public_key")

    def __dealloc__(self):
        libcrypto.EVP_PKEY_free(self._key)

    def __reduce__(self):
        raise TypeError("a PublicKey is never copied")

    def verify(self, bytes signature_algorithm not None, bytes message not None, bytes signature not None, /):
        """Check a signature of one of our algorithms. Releases the GIL."""
        cdef Span identifier = span(signature_algorithm)
        cdef Span text = span(message)
        cdef Span signed = span(signature)
        self.verify_span(&identifier, &text, &signed)

    cdef int verify_span(self, const Span* identifier, const Span* message, const Span* signature) except -1:
        """Raises ValueError unless this is a signature of `message`."""
        cdef const Algorithm* algorithm = find_algorithm_of_key(self._key, identifier)
        cdef bint matches
        if algorithm == NULL:
            if find_algorithm(identifier) == NULL:
                raise ValueError("a signature algorithm that isn't one of ours")
            raise ValueError("the key isn't of the signature algorithm's type")
        libcrypto.ERR_clear_error()
        with nogil:
            matches = verify_octets(self._key, algorithm, message, signature)
        if not matches:
            raise ValueError(f"the signature doesn't verify: {drain_errors()}")
        return 0


def load_public_key(bytes spki not None, /):
    """Read a DER SubjectPublicKeyInfo."""
    cdef size_t left = len(spki)
    cdef PublicKey key = PublicKey.__new__(PublicKey, _FACTORY)
    if len(spki) > MAX_KEY_OCTETS:
        raise ValueError(f"not a SubjectPublicKeyInfo: over {MAX_KEY_OCTETS} octets")
    key._key = _public_keys.read(spki, &left)
    if key._key == NULL:
        raise ValueError(f"not a SubjectPublicKeyInfo: {drain_errors()}")
    if left:
        raise ValueError("octets follow the SubjectPublicKeyInfo")
    key.signature_algorithms = _algorithms_of(key._key)
    return key


def verify(bytes spki not None, bytes signature_algorithm not None, bytes message not None, bytes signature not None, /):
    """Check a signature of one of our algorithms. Releases the GIL."""
    cdef PublicKey key = load_public_key(spki)
    key.verify(signature_algorithm, message, signature)
