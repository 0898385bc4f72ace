"""Reading certificates (RFC 5280 §4.1): where each part begins and ends, and nothing of what stands in it.

Certificates are as the world makes them: a name with characters that its string type hasn't, an extension with an
encoded `critical FALSE`. What is only copied from one is copied, whatever it is.
"""

from libc.stdint cimport int64_t

from responder._native cimport der, times
from responder._native.der cimport In, TLV

from responder._native.rows import CertificateParts, ExtensionParts


cdef inline bytes whole(const TLV* value):
    return value.start[:value.total]


def parse_certificate(bytes octets not None, /):
    """The parts of a certificate, byte for byte as they stand in it."""
    cdef In outer, certificate, tbs, inside, spki
    cdef TLV signed, algorithm, value, serial, inner, issuer, subject, key, bits
    cdef int64_t not_before, not_after
    cdef const unsigned char* data = octets
    cdef bytes signature
    outer = der.reader(data, len(octets))
    if not der.enter(&outer, der.SEQUENCE, &certificate) or not der.at_end(&outer):
        raise ValueError("not one DER Certificate")
    if not der.read(&certificate, der.SEQUENCE, &signed):
        raise ValueError("tbsCertificate isn't a DER SEQUENCE")
    if (
        not der.read(&certificate, der.SEQUENCE, &algorithm)
        or not der.read(&certificate, der.BIT_STRING, &value)
        or not der.at_end(&certificate)
        or value.length < 2
        or value.content[0] != 0
    ):
        raise ValueError("a Certificate has a signatureAlgorithm and a signature of whole octets, and nothing after them")
    signature = value.content[1:value.length]
    tbs = der.reader(signed.content, signed.length)
    if der.next_is(&tbs, 0xA0) and not der.read_any(&tbs, &value):
        raise ValueError("version is damaged")
    if not der.read(&tbs, der.INTEGER, &serial) or serial.length == 0:
        raise ValueError("serialNumber isn't an INTEGER")
    if not der.read(&tbs, der.SEQUENCE, &inner):
        raise ValueError("signature isn't an AlgorithmIdentifier")
    if not der.read(&tbs, der.SEQUENCE, &issuer):
        raise ValueError("issuer isn't a Name")
    if not der.enter(&tbs, der.SEQUENCE, &inside):
        raise ValueError("validity isn't a SEQUENCE")
    if not der.read_any(&inside, &value) or not times.read_moment(&value, &not_before):
        raise ValueError("notBefore isn't a time as in RFC 5280 §4.1.2.5")
    if not der.read_any(&inside, &value) or not times.read_moment(&value, &not_after) or not der.at_end(&inside):
        raise ValueError("notAfter isn't a time as in RFC 5280 §4.1.2.5")
    if not der.read(&tbs, der.SEQUENCE, &subject):
        raise ValueError("subject isn't a Name")
    if not der.read(&tbs, der.SEQUENCE, &key):
        raise ValueError("subjectPublicKeyInfo isn't a SEQUENCE")
    spki = der.reader(key.content, key.length)
    if (
        not der.read(&spki, der.SEQUENCE, &value)
        or not der.read(&spki, der.BIT_STRING, &bits)
        or not der.at_end(&spki)
        or bits.length < 2
        or bits.content[0] != 0
    ):
        raise ValueError("subjectPublicKeyInfo isn't an algorithm and a BIT STRING of whole octets")
    return CertificateParts(
        tbs=whole(&signed),
        serial=<bytes> serial.content[:serial.length],
        issuer=whole(&issuer),
        not_before=not_before,
        not_after=not_after,
        subject=whole(&subject),
        spki=whole(&key),
        public_key_bits=<bytes> bits.content[1:bits.length],
        extensions=_extensions(&tbs),
        signature_algorithm=whole(&algorithm),
        signature=signature,
    )


cdef tuple _extensions(In* tbs):
    """What follows the key: unique identifiers, which are passed over, and the extensions."""
    cdef In wrapped, extensions, extension
    cdef TLV value, oid
    cdef bint critical
    cdef list found = []
    while der.next_is(tbs, 0x81) or der.next_is(tbs, 0x82):
        if not der.read_any(tbs, &value):
            raise ValueError("a unique identifier is damaged")
    if der.at_end(tbs):
        return ()
    if (
        not der.enter(tbs, 0xA3, &wrapped)
        or not der.at_end(tbs)
        or not der.enter(&wrapped, der.SEQUENCE, &extensions)
        or not der.at_end(&wrapped)
    ):
        raise ValueError("extensions aren't a SEQUENCE at the end")
    while not der.at_end(&extensions):
        if not der.enter(&extensions, der.SEQUENCE, &extension) or not der.read(&extension, der.OID, &oid):
            raise ValueError(f"extension {len(found) + 1} isn't one")
        critical = False
        if der.next_is(&extension, der.BOOLEAN):
            if not der.read_any(&extension, &value) or value.length != 1:
                raise ValueError(f"extension {len(found) + 1}: critical isn't a BOOLEAN")
            critical = value.content[0] != 0
        if not der.read(&extension, der.OCTET_STRING, &value) or not der.at_end(&extension):
            raise ValueError(f"extension {len(found) + 1} has no value")
        found.append(ExtensionParts(whole(&oid), critical, <bytes> value.content[:value.length]))
    return tuple(found)
