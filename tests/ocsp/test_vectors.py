"""The OCSP vectors of pyca, read by us, by pyca and by openssl; each disagreement is written down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.x509 import ocsp

from responder.errors import MalformedRequest
from responder.ocsp.lints import lint
from responder.operations.explaining import REQUEST, RESPONSE, explain
from responder.pki import CertIDVariant, decode_serial, parse_ocsp_request

FOLDER = Path(cryptography_vectors.__file__).parent / "x509" / "ocsp"
REQUESTS = sorted(path.name for path in FOLDER.glob("*req*.der") if not path.name.startswith("resp-"))
RESPONSES = sorted(path.name for path in FOLDER.glob("*.der") if path.name not in REQUESTS)
assert (len(REQUESTS), len(RESPONSES)) == (11, 17)

# Where we refuse what others read, or they what we read; and why each is right.
OURS_ALONE = {
    "req-duplicate-ext.der": "an extension appears twice",  # 9654-04; the others take the first or both
    "req-invalid-version.der": "version isn't v1",  # pyca refuses it as well; openssl reads version 2
}
PYCAS_ALONE = {"req-multi-sha1.der"}  # it reads requests for one certificate only
UNKNOWN_HASH = {"req-invalid-hash-alg.der"}  # read, and answered unauthorized (6960-12)

# What the linter says of pyca's responses; of all others, nothing.
FOUND = {
    "resp-invalid-version.der": ["6960-15"],
    "resp-response-type-unknown-oid.der": ["6960-15"],
    "resp-revoked-no-next-update.der": ["9919-06"],
    "resp-successful-no-response-bytes.der": ["6960-15"],
    "resp-unknown-response-status.der": ["6960-02"],
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_as_by_others(name: str) -> None:
    octets = (FOLDER / name).read_bytes()
    assert explain(octets, REQUEST)
    if name in OURS_ALONE:
        with pytest.raises(MalformedRequest, match=OURS_ALONE[name]):
            parse_ocsp_request(octets)
        return
    ours = parse_ocsp_request(octets)
    serials = [decode_serial(each.serial) for each in ours.cert_ids]
    assert [each.variant is CertIDVariant.UNKNOWN for each in ours.cert_ids] == [name in UNKNOWN_HASH] * len(serials)
    text = subprocess.run(
        ["openssl", "ocsp", "-reqin", FOLDER / name, "-req_text"], capture_output=True, text=True, check=True
    ).stdout
    assert [int(each, 16) for each in re.findall(r"Serial Number: ([0-9A-F]+)", text)] == serials
    assert ("OCSP Nonce" in text) == (ours.nonce is not None)
    if name in PYCAS_ALONE:
        with pytest.raises(NotImplementedError):
            ocsp.load_der_ocsp_request(octets)
        return
    pycas = ocsp.load_der_ocsp_request(octets)
    assert [pycas.serial_number] == serials
    if name not in UNKNOWN_HASH:
        (cert_id,) = ours.cert_ids
        assert (pycas.issuer_name_hash, pycas.issuer_key_hash) == (cert_id.issuer_name_hash, cert_id.issuer_key_hash)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_found_right_or_wrong_for_its_own_fault(name: str) -> None:
    octets = (FOLDER / name).read_bytes()
    assert explain(octets, RESPONSE)
    assert [each.id for each in lint(octets)] == FOUND.get(name, [])
