"""An OCSPRequest as views into its octets, for whoever holds them. Parsed without the GIL."""

from libc.stddef cimport size_t

from responder._native.der cimport Span

cdef enum:
    MAX_OCTETS = 16384
    MAX_IDS = 20
    MAX_PREFERENCES = 8

ctypedef struct CertIDView:
    int variant  # as in the stub: 1..4, + 16 with absent parameters, 0 a hash we don't know
    const unsigned char* issuer_name_hash
    size_t name_size
    const unsigned char* issuer_key_hash
    size_t key_size
    const unsigned char* serial
    size_t serial_size

ctypedef struct RequestView:
    int count
    CertIDView ids[MAX_IDS]
    const unsigned char* nonce  # the extnValue's content, or NULL
    size_t nonce_size
    Span tbs                    # DER of tbsRequest
    Span signature_algorithm    # DER of optionalSignature's AlgorithmIdentifier; size 0 in an unsigned request
    Span signature              # its octets
    Span certs                  # DER Certificates one after the other
    int preference_count        # preferred signature algorithms
    Span[MAX_PREFERENCES] preferences   # DER AlgorithmIdentifiers
    const char* fault           # a static sentence, when parsing failed
    size_t offset

cdef bint parse_request(const unsigned char* der, size_t size, RequestView* request) noexcept nogil
