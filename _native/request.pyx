"""Reading OCSPRequest (RFC 6960 §4.1.1).

Strict DER, with two exceptions that real clients need: an explicit `version v1`, and an explicit `critical FALSE`.
"""

from libc.stddef cimport size_t
from libc.string cimport memcmp

from responder._native cimport der
from responder._native.der cimport In, Span, TLV

from responder.errors import MalformedRequest, NonceMalformed
from responder._native.rows import CertIDRow, RequestRow, SignatureRow

MAX_REQUEST_BYTES = MAX_OCTETS
MAX_CERT_IDS = MAX_IDS

cdef enum:
    MAX_EXTENSIONS = 32
    MAX_NONCE = 128
    OCSP_ARC_SIZE = 8
    NONCE = 2            # id-pkix-ocsp-nonce, the last arc
    CRL_REFERENCE = 3
    ACCEPTABLE_RESPONSES = 4
    SERVICE_LOCATOR = 7
    PREFERRED_ALGORITHMS = 8

# id-pkix-ocsp, 1.3.6.1.5.5.7.48.1
cdef const unsigned char* OCSP_ARC = b"\x2b\x06\x01\x05\x05\x07\x30\x01"
cdef const char* BAD_NONCE = b"the nonce hasn't 1 to 128 octets"
cdef const unsigned char* SHA1_OID = b"\x2b\x0e\x03\x02\x1a"
# 2.16.840.1.101.3.4.2, then 1 SHA-256, 2 SHA-384, 3 SHA-512
cdef const unsigned char* SHA2_ARC = b"\x60\x86\x48\x01\x65\x03\x04\x02"

ctypedef struct Parse:
    RequestView* request
    const unsigned char* begin


cdef bint fail(Parse* parse, const char* fault, const unsigned char* where) noexcept nogil:
    parse.request.fault = fault
    parse.request.offset = where - parse.begin
    return False


cdef bint parse_request(const unsigned char* octets, size_t size, RequestView* request) noexcept nogil:
    """Fill `request` with views into `octets`; False with `fault` and `offset` set when it is malformed."""
    cdef Parse parse
    cdef In outer, inner, tbs
    cdef TLV value
    parse.request = request
    parse.begin = octets
    request.count = 0
    request.nonce = NULL
    request.nonce_size = 0
    request.signature_algorithm.size = 0
    request.certs.data = NULL
    request.certs.size = 0
    request.preference_count = 0
    request.fault = NULL
    request.offset = 0
    if size > MAX_OCTETS:
        return fail(&parse, b"the request is longer than 16384 octets", octets)
    outer = der.reader(octets, size)
    if not der.enter(&outer, der.SEQUENCE, &inner):
        return fail(&parse, b"an OCSPRequest is a DER SEQUENCE", outer.position)
    if not der.at_end(&outer):
        return fail(&parse, b"octets follow the OCSPRequest", outer.position)
    request.tbs.data = inner.position
    if not der.enter(&inner, der.SEQUENCE, &tbs):
        return fail(&parse, b"tbsRequest isn't a DER SEQUENCE", inner.position)
    request.tbs.size = <size_t> (inner.position - request.tbs.data)
    if not parse_tbs(&parse, &tbs):
        return False
    if der.next_is(&inner, 0xA0):
        if not parse_signature(&parse, &inner):
            return False
    if not der.at_end(&inner):
        return fail(&parse, b"octets follow the parts of OCSPRequest", inner.position)
    return True


cdef bint parse_tbs(Parse* parse, In* tbs) noexcept nogil:
    cdef In inside, requests, request
    cdef TLV value
    cdef der.Bytes where = tbs.position
    if der.next_is(tbs, 0xA0):
        # DER leaves out the default, but real clients send it.
        if not der.enter(tbs, 0xA0, &inside) or not der.read(&inside, der.INTEGER, &value) or not der.at_end(&inside):
            return fail(parse, b"version isn't an INTEGER", where)
        if value.length != 1 or value.content[0] != 0:
            return fail(parse, b"version isn't v1", value.start)
    where = tbs.position
    if der.next_is(tbs, 0xA1):
        # requestorName is a GeneralName; what it says is ignored (RFC 9919 §3.1.2).
        if not der.enter(tbs, 0xA1, &inside) or not der.read_any(&inside, &value) or not der.at_end(&inside):
            return fail(parse, b"requestorName isn't one GeneralName", where)
    if not der.enter(tbs, der.SEQUENCE, &requests):
        return fail(parse, b"requestList isn't a DER SEQUENCE", tbs.position)
    if der.at_end(&requests):
        return fail(parse, b"requestList is empty", requests.position)
    while not der.at_end(&requests):
        if parse.request.count == MAX_IDS:
            return fail(parse, b"more than 20 CertIDs", requests.position)
        if not der.enter(&requests, der.SEQUENCE, &request):
            return fail(parse, b"a Request isn't a DER SEQUENCE", requests.position)
        if not parse_cert_id(parse, &request, &parse.request.ids[parse.request.count]):
            return False
        parse.request.count += 1
        if der.next_is(&request, 0xA0) and not parse_extensions(parse, &request, 0xA0, False):
            return False
        if not der.at_end(&request):
            return fail(parse, b"octets follow the parts of Request", request.position)
    if der.next_is(tbs, 0xA2) and not parse_extensions(parse, tbs, 0xA2, True):
        return False
    if not der.at_end(tbs):
        return fail(parse, b"octets follow the parts of tbsRequest", tbs.position)
    return True


cdef bint parse_cert_id(Parse* parse, In* request, CertIDView* view) noexcept nogil:
    cdef In cert_id, algorithm
    cdef TLV oid, parameters, value
    cdef der.Bytes where
    cdef size_t hash_size
    cdef bint has_parameters = False
    if not der.enter(request, der.SEQUENCE, &cert_id):
        return fail(parse, b"CertID isn't a DER SEQUENCE", request.position)
    if not der.enter(&cert_id, der.SEQUENCE, &algorithm) or not der.read(&algorithm, der.OID, &oid):
        return fail(parse, b"hashAlgorithm isn't an AlgorithmIdentifier", cert_id.position)
    if not der.is_oid(&oid):
        return fail(parse, b"hashAlgorithm has an invalid OBJECT IDENTIFIER", oid.start)
    if not der.at_end(&algorithm):
        has_parameters = True
        if not der.read_any(&algorithm, &parameters) or not der.at_end(&algorithm):
            return fail(parse, b"hashAlgorithm has more than one parameter", algorithm.position)
    view.variant = hash_of(&oid, &hash_size)
    if view.variant:
        if not has_parameters:
            view.variant += 16
        elif parameters.tag != der.NULL_TAG or parameters.length:
            return fail(parse, b"the parameters of hashAlgorithm are neither NULL nor absent", parameters.start)
    if not der.read(&cert_id, der.OCTET_STRING, &value):
        return fail(parse, b"issuerNameHash isn't an OCTET STRING", cert_id.position)
    if view.variant and value.length != hash_size:
        return fail(parse, b"issuerNameHash hasn't the length of its hash", value.start)
    view.issuer_name_hash = value.content
    view.name_size = value.length
    if not der.read(&cert_id, der.OCTET_STRING, &value):
        return fail(parse, b"issuerKeyHash isn't an OCTET STRING", cert_id.position)
    if view.variant and value.length != hash_size:
        return fail(parse, b"issuerKeyHash hasn't the length of its hash", value.start)
    view.issuer_key_hash = value.content
    view.key_size = value.length
    where = cert_id.position
    if not der.read(&cert_id, der.INTEGER, &value) or not der.is_minimal_integer(value.content, value.length):
        return fail(parse, b"serialNumber isn't a minimal INTEGER", where)
    view.serial = value.content
    view.serial_size = value.length
    if not der.at_end(&cert_id):
        return fail(parse, b"octets follow the parts of CertID", cert_id.position)
    return True


cdef int hash_of(const TLV* oid, size_t* size) noexcept nogil:
    """1 SHA-1, 2 SHA-256, 3 SHA-384, 4 SHA-512, 0 another; and how long its hashes are."""
    if oid.length == 5 and memcmp(oid.content, SHA1_OID, 5) == 0:
        size[0] = 20
        return 1
    if oid.length == 9 and memcmp(oid.content, SHA2_ARC, 8) == 0 and 1 <= oid.content[8] <= 3:
        size[0] = 16 + 16 * oid.content[8]
        return 1 + oid.content[8]
    size[0] = 0
    return 0


cdef bint parse_extensions(Parse* parse, In* source, unsigned char tag, bint of_request) noexcept nogil:
    """Extensions under an explicit tag. The nonce counts among the request's own only (9654-01)."""
    cdef In wrapped, extensions, extension
    cdef TLV oid, critical, content
    cdef TLV seen[MAX_EXTENSIONS]
    cdef int count = 0
    cdef int index
    cdef int arc
    if not der.enter(source, tag, &wrapped) or not der.enter(&wrapped, der.SEQUENCE, &extensions):
        return fail(parse, b"Extensions isn't a DER SEQUENCE", source.position)
    if not der.at_end(&wrapped):
        return fail(parse, b"octets follow the Extensions", wrapped.position)
    if der.at_end(&extensions):
        return fail(parse, b"Extensions is empty", extensions.position)
    while not der.at_end(&extensions):
        if count == MAX_EXTENSIONS:
            return fail(parse, b"more than 32 extensions", extensions.position)
        if not der.enter(&extensions, der.SEQUENCE, &extension) or not der.read(&extension, der.OID, &oid):
            return fail(parse, b"an Extension isn't a DER SEQUENCE with an OBJECT IDENTIFIER", extensions.position)
        if not der.is_oid(&oid):
            return fail(parse, b"an Extension has an invalid OBJECT IDENTIFIER", oid.start)
        for index in range(count):
            if seen[index].length == oid.length and memcmp(seen[index].content, oid.content, oid.length) == 0:
                return fail(parse, b"an extension appears twice", oid.start)
        seen[count] = oid
        count += 1
        critical.content = NULL
        critical.length = 0
        if der.next_is(&extension, der.BOOLEAN):
            # An explicit FALSE isn't DER, but real clients send it.
            if (
                not der.read_any(&extension, &critical)
                or critical.length != 1
                or (critical.content[0] != 0xFF and critical.content[0] != 0x00)
            ):
                return fail(parse, b"critical is neither TRUE nor FALSE", extension.position)
        if not der.read(&extension, der.OCTET_STRING, &content) or not der.at_end(&extension):
            return fail(parse, b"extnValue isn't one OCTET STRING", extension.position)
        arc = ocsp_arc(&oid)
        if arc == 0 and critical.length and critical.content[0] == 0xFF:
            return fail(parse, b"a critical extension that isn't understood", oid.start)
        if arc == NONCE and of_request and not take_nonce(parse, &content):
            return False
        if arc == PREFERRED_ALGORITHMS and of_request and not take_preferences(parse, &content):
            return False
    return True


cdef int ocsp_arc(const TLV* oid) noexcept nogil:
    """The last arc of an extension we know, else 0."""
    cdef int arc
    if oid.length != OCSP_ARC_SIZE + 1 or memcmp(oid.content, OCSP_ARC, OCSP_ARC_SIZE) != 0:
        return 0
    arc = oid.content[OCSP_ARC_SIZE]
    if arc in (NONCE, CRL_REFERENCE, ACCEPTABLE_RESPONSES, SERVICE_LOCATOR, PREFERRED_ALGORITHMS):
        return arc
    return 0


cdef bint take_nonce(Parse* parse, const TLV* content) noexcept nogil:
    """1 to 128 octets (RFC 9654 §2.1), counted inside where the content is one OCTET STRING, as RFC 6960 has it, else
    as a whole, as RFC 2560 had it. Either way it is returned as it came (9654-03)."""
    cdef In inside = der.reader(content.content, content.length)
    cdef TLV value
    cdef size_t length = content.length
    if der.read(&inside, der.OCTET_STRING, &value) and der.at_end(&inside):
        length = value.length
    if length == 0 or length > MAX_NONCE:
        return fail(parse, BAD_NONCE, content.start)
    parse.request.nonce = content.content
    parse.request.nonce_size = content.length
    return True


cdef bint take_preferences(Parse* parse, const TLV* content) noexcept nogil:
    """PreferredSignatureAlgorithms (RFC 6960 §4.4.7.1); what comes after the first eight isn't looked at."""
    cdef In source = der.reader(content.content, content.length)
    cdef In list_, preference
    cdef TLV algorithm
    cdef Span* span
    if not der.enter(&source, der.SEQUENCE, &list_) or not der.at_end(&source):
        return fail(parse, b"the preferred signature algorithms aren't a DER SEQUENCE", content.start)
    while not der.at_end(&list_) and parse.request.preference_count < MAX_PREFERENCES:
        if not der.enter(&list_, der.SEQUENCE, &preference) or not der.read(&preference, der.SEQUENCE, &algorithm):
            return fail(parse, b"a preferred signature algorithm isn't an AlgorithmIdentifier", content.start)
        span = &parse.request.preferences[parse.request.preference_count]
        span.data = algorithm.start
        span.size = algorithm.total
        parse.request.preference_count += 1
    return True


cdef bint parse_signature(Parse* parse, In* source) noexcept nogil:
    """optionalSignature is well-formed; whether it verifies isn't asked here."""
    cdef In wrapped, signature, certificates
    cdef TLV value, algorithm
    cdef RequestView* request = parse.request
    if not der.enter(source, 0xA0, &wrapped) or not der.enter(&wrapped, der.SEQUENCE, &signature):
        return fail(parse, b"optionalSignature isn't a DER SEQUENCE", source.position)
    if not der.at_end(&wrapped):
        return fail(parse, b"octets follow optionalSignature", wrapped.position)
    if not der.read(&signature, der.SEQUENCE, &algorithm):
        return fail(parse, b"signatureAlgorithm isn't a DER SEQUENCE", signature.position)
    if not der.read(&signature, der.BIT_STRING, &value) or not is_bit_string(&value):
        return fail(parse, b"signature isn't a BIT STRING", signature.position)
    request.signature_algorithm.data = algorithm.start
    request.signature_algorithm.size = algorithm.total
    request.signature.data = value.content + 1
    request.signature.size = value.length - 1
    if der.next_is(&signature, 0xA0):
        if not der.enter(&signature, 0xA0, &wrapped) or not der.enter(&wrapped, der.SEQUENCE, &certificates):
            return fail(parse, b"certs isn't a DER SEQUENCE", signature.position)
        if not der.at_end(&wrapped):
            return fail(parse, b"octets follow certs", wrapped.position)
        request.certs.data = certificates.position
        request.certs.size = <size_t> (certificates.end - certificates.position)
        while not der.at_end(&certificates):
            if not der.read(&certificates, der.SEQUENCE, &value):
                return fail(parse, b"a certificate in certs isn't a DER SEQUENCE", certificates.position)
    if not der.at_end(&signature):
        return fail(parse, b"octets follow the parts of Signature", signature.position)
    return True


cdef bint is_bit_string(const TLV* value) noexcept nogil:
    """X.690 §8.6.2: the count of unused bits comes first, and is zero where there are no bits."""
    return value.length > 0 and (value.content[0] == 0 or (value.content[0] <= 7 and value.length > 1))


def parse_ocsp_request(bytes octets not None, /):
    """Read an OCSPRequest strictly; all input must be consumed."""
    cdef RequestView request
    cdef const unsigned char* data = octets
    cdef size_t size = len(octets)
    cdef bint well_formed
    cdef int index
    cdef CertIDView* view
    with nogil:
        well_formed = parse_request(data, size, &request)
    if not well_formed:
        fault = NonceMalformed if request.fault == BAD_NONCE else MalformedRequest
        raise fault(f"{request.fault.decode()} (at offset {request.offset})")
    cert_ids = []
    for index in range(request.count):
        view = &request.ids[index]
        cert_ids.append(
            CertIDRow(
                view.variant,
                <bytes> view.issuer_name_hash[:view.name_size],
                <bytes> view.issuer_key_hash[:view.key_size],
                <bytes> view.serial[:view.serial_size],
            )
        )
    nonce = None if request.nonce == NULL else <bytes> request.nonce[:request.nonce_size]
    preferences = tuple([der.octets_of(&request.preferences[index]) for index in range(request.preference_count)])
    if request.signature_algorithm.size == 0:
        return RequestRow(cert_ids, nonce, preferences, None)
    signature = SignatureRow(
        der.octets_of(&request.tbs),
        der.octets_of(&request.signature_algorithm),
        der.octets_of(&request.signature),
        values_of(&request.certs),
    )
    return RequestRow(cert_ids, nonce, preferences, signature)


cdef tuple values_of(const Span* what):
    """The DER of each value, one after the other; what was checked before."""
    cdef In source = der.reader(what.data, what.size)
    cdef TLV value
    cdef list found = []
    while not der.at_end(&source) and der.read_any(&source, &value):
        found.append(<bytes> value.start[:value.total])
    return tuple(found)
