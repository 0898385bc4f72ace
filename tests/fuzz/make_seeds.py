"""Writes tests/fuzz/seeds anew: octets that are right, made here or by other people's programs, to begin with.

python -m tests.fuzz.make_seeds
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import cryptography_vectors

from responder._native import CRLBuilder
from responder.pki import CertIDVariant
from tests import der
from tests.der import cert_id, extension, octet_string, sequence, tlv
from tests.makers import make_ca, make_test_issuer, make_test_signer
from tests.native.test_native_records import NEXT_UPDATE, THIS_UPDATE, sign_one, status

SEEDS = Path(__file__).parent / "seeds"
VECTORS = Path(cryptography_vectors.__file__).parent / "x509" / "ocsp"
SERIAL = bytes.fromhex("0098d9e5c0b4c373552df77c5d0f1eb5")


def main() -> None:
    """Write them."""
    damaged = (SEEDS / "response" / "damaged-delegate").read_bytes()  # found by the fuzzer
    shutil.rmtree(SEEDS, ignore_errors=True)
    issuer = make_test_issuer("fuzz", make_ca("ec"))
    signer, rsa = make_test_signer(issuer, "ec"), make_test_signer(issuer, "rsa")
    nonce = extension(der.NONCE, octet_string(b"n" * 16), der.FALSE)
    requests = {
        "one": der.request(cert_id("sha1")),
        "several": der.request(*(cert_id(name) for name in ("sha1", "sha256", "sha384", "sha512")), extensions=nonce),
        "signed": der.request(signature=tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x00s")))),
        **{path.stem: path.read_bytes() for path in VECTORS.glob("*req*.der") if not path.name.startswith("resp-")},
    }
    good = sign_one(signer, status(SERIAL))
    revoked = sign_one(signer, status(SERIAL, 1, THIS_UPDATE - 100, 1))
    answers = [(variant, signer.profile.render(good, variant, SERIAL)) for variant in good.variants]
    verbatim = signer.profile.take_over(status(SERIAL), THIS_UPDATE, answers)
    crl = CRLBuilder()
    crls = {}
    for name, reason in (("empty", -1), ("one", 1), ("two", 0)):
        if name != "empty":
            crl.add(bytes([5 + len(crl)]), 1_700_000_000, reason, 1_600_000_000)
        arguments = (issuer.name, issuer.key_identifier, 7, THIS_UPDATE, NEXT_UPDATE)
        crls[name] = crl.sign(signer.key, *arguments)
    get = base64.b64encode(requests["one"]).decode()
    write("request", requests)
    escaped = get.replace("/", "%2F").replace("=", "%3d")
    write("get_path", {"raw": f"/ocsp/{get}".encode(), "escaped": f"/{escaped}".encode()})
    records = {"good": good.encoded, "revoked": revoked.encoded, "verbatim": verbatim.encoded}
    write("record", records)
    write("render", records)
    write("profile", {"p256": signer.profile.body, "rsa": rsa.profile.body})
    by_hash = {CertIDVariant(variant).hash_name: octets for variant, octets in answers}
    write("imported", by_hash)
    write("response", {
        "good": signer.profile.render(good, good.variants[0], SERIAL),
        "error": bytes.fromhex("30030a0106"),
        "damaged-delegate": damaged,
        **{path.stem: path.read_bytes() for path in sorted(VECTORS.glob("resp-*.der"))[:8]},
    })  # fmt: skip
    write("certificate", {"ca": issuer.certificate, "delegate": signer.profile.certificates[0]})
    write("crl", crls)
    write("framing", {
        "get": f"GET /ocsp/{get} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        "post": b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
        "chunked": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        "several": b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
    })  # fmt: skip
    write("proxy", {
        "v1": b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        "unknown": b"PROXY UNKNOWN\r\n",
        "v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 4, 1, 0xBB]),
    })  # fmt: skip
    (SEEDS / "serial").write_bytes(SERIAL)
    (SEEDS / "key").write_bytes(signer.key.public_key)


def write(target: str, seeds: dict[str, bytes]) -> None:
    """One file for each."""
    (SEEDS / target).mkdir(parents=True)
    for name, octets in seeds.items():
        (SEEDS / target / name).write_bytes(octets)


if __name__ == "__main__":
    main()
