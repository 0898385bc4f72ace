"""Private keys in files and by URI: read, made and written without ever being Python objects."""

from libc.errno cimport EINTR, errno
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc

from cpython.exc cimport PyErr_SetFromErrno

from responder._native cimport libcrypto
from responder._native.decoder cimport Decoder
from responder._native.errors cimport drain_errors
from responder._native.keys cimport MAX_KEY_OCTETS, PrivateKey, take_over

from responder._native.keys import SUPPORTED
from responder.errors import KeyIsEncrypted

cdef extern from "unistd.h" nogil:
    ssize_t read(int descriptor, void* buffer, size_t size)
    ssize_t write(int descriptor, const void* buffer, size_t size)

cdef Decoder _pem = Decoder(b"PEM", None, libcrypto.EVP_PKEY_KEYPAIR)
cdef Decoder _der = Decoder(b"DER", None, libcrypto.EVP_PKEY_KEYPAIR)

# Under the names that `PrivateKey.name` has: libcrypto's type, and its curve or number of bits.
_GENERATED = {
    "ecdsa-p256": (b"EC", b"P-256"),
    "ecdsa-p384": (b"EC", b"P-384"),
    "ecdsa-p521": (b"EC", b"P-521"),
    "ecdsa-brainpool256": (b"EC", b"brainpoolP256r1"),
    "ecdsa-brainpool384": (b"EC", b"brainpoolP384r1"),
    "ecdsa-brainpool512": (b"EC", b"brainpoolP512r1"),
    "rsa-2048": (b"RSA", 2048),
    "rsa-3072": (b"RSA", 3072),
    "rsa-4096": (b"RSA", 4096),
    "ed25519": (b"ED25519", None),
    "ed448": (b"ED448", None),
    "ml-dsa-44": (b"ML-DSA-44", None),
    "ml-dsa-65": (b"ML-DSA-65", None),
    "ml-dsa-87": (b"ML-DSA-87", None),
}


cdef bint _is_made(bytes key_type):
    """Whether libcrypto makes keys of this type; ML-DSA's it makes from 3.5 on."""
    cdef libcrypto.EVP_PKEY_CTX* context = libcrypto.EVP_PKEY_CTX_new_from_name(NULL, key_type, NULL)
    libcrypto.EVP_PKEY_CTX_free(context)
    return context != NULL


GENERATED_KINDS = tuple([kind for kind, (key_type, _) in _GENERATED.items() if _is_made(key_type)])
libcrypto.ERR_clear_error()


def read_key(int descriptor, /):
    """The private key in an open file, PEM or DER."""
    cdef unsigned char* octets = <unsigned char*> malloc(MAX_KEY_OCTETS)
    cdef size_t size = 0
    cdef libcrypto.EVP_PKEY* found
    if octets == NULL:
        raise MemoryError
    try:
        size = _read_all(descriptor, octets)
        found = _find(octets, size)
    finally:
        libcrypto.OPENSSL_cleanse(octets, MAX_KEY_OCTETS)
        free(octets)
    return take_over(found)


cdef size_t _read_all(int descriptor, unsigned char* octets) except? 0:
    cdef size_t size = 0
    cdef ssize_t got
    while size < MAX_KEY_OCTETS:
        got = read(descriptor, octets + size, MAX_KEY_OCTETS - size)
        if got == 0:
            return size
        if got > 0:
            size += got
        elif errno != EINTR:
            PyErr_SetFromErrno(OSError)
            return 0
    raise ValueError(f"not a private key: {MAX_KEY_OCTETS} octets or more")


cdef libcrypto.EVP_PKEY* _find(const unsigned char* octets, size_t size) except NULL:
    cdef libcrypto.EVP_PKEY* found = NULL
    cdef libcrypto.BIO* source
    cdef size_t left = size
    cdef str said
    if size and octets[0] == 0x30:
        found = _der.read(octets, &left)
        if found != NULL and left:
            libcrypto.EVP_PKEY_free(found)
            raise ValueError("octets follow the private key")
    elif size:
        source = libcrypto.BIO_new_mem_buf(octets, <int> size)
        if source == NULL:
            raise MemoryError
        found = _pem.search(source)
        libcrypto.BIO_free(source)
    if found == NULL:
        said = drain_errors()
        if "passphrase" in said or "bad password read" in said:
            raise KeyIsEncrypted("the private key is encrypted")
        raise ValueError(f"not a private key that libcrypto reads: {said}; {SUPPORTED}")
    return found


def open_key(str uri not None, /):
    """The private key that a URI names, by the loaders of libcrypto and its providers. No passphrase is asked for."""
    cdef bytes name = uri.encode()
    cdef const char* properties = NULL
    cdef libcrypto.OSSL_STORE_CTX* store
    cdef libcrypto.OSSL_STORE_INFO* info
    cdef libcrypto.EVP_PKEY* found = NULL
    if b"\0" in name:
        raise ValueError("a URI with a NUL in it")
    if name[:5].lower() == b"file:":
        properties = b"provider=default"  # a scheme doesn't say which loader answers
    libcrypto.ERR_clear_error()
    store = libcrypto.OSSL_STORE_open_ex(name, NULL, properties, libcrypto.UI_null(), NULL, NULL, NULL, NULL)
    if store == NULL:
        raise ValueError(f"no key can be read from there: {drain_errors()}")
    libcrypto.OSSL_STORE_expect(store, libcrypto.OSSL_STORE_INFO_PKEY)
    while found == NULL and libcrypto.OSSL_STORE_eof(store) == 0:
        info = libcrypto.OSSL_STORE_load(store)
        if info == NULL:
            break
        if libcrypto.OSSL_STORE_INFO_get_type(info) == libcrypto.OSSL_STORE_INFO_PKEY:
            found = libcrypto.OSSL_STORE_INFO_get1_PKEY(info)
        libcrypto.OSSL_STORE_INFO_free(info)
    libcrypto.OSSL_STORE_close(store)
    if found == NULL:
        raise ValueError(f"there is no private key: {drain_errors()}")
    libcrypto.ERR_clear_error()
    return take_over(found)


def generate_key(str kind not None, /):
    """A new key of one of `GENERATED_KINDS`. Releases the GIL."""
    cdef libcrypto.EVP_PKEY_CTX* context
    cdef libcrypto.EVP_PKEY* made = NULL
    cdef bint done
    if kind not in GENERATED_KINDS:
        raise ValueError(f"keys of kind {kind!r} aren't made here")
    key_type, detail = _GENERATED[kind]
    libcrypto.ERR_clear_error()
    context = libcrypto.EVP_PKEY_CTX_new_from_name(NULL, <const char*> <bytes> key_type, NULL)
    try:
        done = context != NULL and libcrypto.EVP_PKEY_keygen_init(context) == 1
        if done and isinstance(detail, bytes):
            done = libcrypto.EVP_PKEY_CTX_set_group_name(context, <const char*> <bytes> detail) == 1
        elif done and detail is not None:
            done = libcrypto.EVP_PKEY_CTX_set_rsa_keygen_bits(context, detail) == 1
        if done:
            with nogil:
                done = libcrypto.EVP_PKEY_generate(context, &made) == 1
        if not done:
            raise ValueError(f"libcrypto makes no key: {drain_errors()}")
    finally:
        libcrypto.EVP_PKEY_CTX_free(context)
    return take_over(made)


def write_key(PrivateKey key not None, int descriptor, /):
    """Write a key to an open file, as PEM PrivateKeyInfo without a passphrase."""
    cdef libcrypto.BIO* target = libcrypto.BIO_new(libcrypto.BIO_s_mem())  # its memory is wiped when it goes
    cdef char* data
    cdef long size
    cdef ssize_t put
    libcrypto.ERR_clear_error()
    try:
        if target == NULL or libcrypto.PEM_write_bio_PKCS8PrivateKey(target, key._key, NULL, NULL, 0, NULL, NULL) != 1:
            raise ValueError(f"this key can't be written: {drain_errors()}")
        size = libcrypto.BIO_get_mem_data(target, &data)
        while size > 0:
            put = write(descriptor, data, size)
            if put >= 0:
                data += put
                size -= put
            elif errno != EINTR:
                PyErr_SetFromErrno(OSError)
    finally:
        libcrypto.BIO_free(target)
