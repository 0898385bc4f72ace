"""Private keys: which are taken, what they sign, and that pyca/cryptography agrees."""

from __future__ import annotations

import copy
import pickle
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519

from responder._native import CRLBuilder, PrivateKey, load_public_key, verify
from tests.makers import RSA_PSS, Key, check_signature, digest_of, load_private_key, native, new_key, pkcs8, spki

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
MESSAGE = b"what is signed"


KINDS = ["ec", "p384", "p521", "bp256", "bp384", "bp512", "rsa", "ed25519", "ed448"]


@pytest.fixture(scope="module", params=KINDS)
def key(request: pytest.FixtureRequest) -> Key:
    return new_key(request.param)


def check(key: Key, signature: bytes, message: bytes = MESSAGE) -> None:
    check_signature(key.public_key(), signature, message)


def test_what_we_sign_others_verify(key: Key) -> None:
    signer = native(key)
    for message in (MESSAGE, b"", b"x" * 100_000):
        check(key, signer.sign(message), message)
    with pytest.raises(InvalidSignature):
        check(key, signer.sign(MESSAGE), b"another")


def test_what_others_sign_we_verify(key: Key) -> None:
    signer = native(key)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(MESSAGE, ec.ECDSA(digest_of(key)))
    else:
        signature = key.sign(MESSAGE)
    verify(spki(key), signer.signature_algorithm, MESSAGE, signature)
    for wrong in (b"another", MESSAGE + b"\x00"):
        with pytest.raises(ValueError, match="doesn't verify"):
            verify(spki(key), signer.signature_algorithm, wrong, signature)
    for damaged in (b"", signature[:-1], signature + b"\x00", bytes(len(signature))):
        with pytest.raises(ValueError, match="doesn't verify"):
            verify(spki(key), signer.signature_algorithm, MESSAGE, damaged)


NAMES = {
    "ec": ("ecdsa-p256", "300a06082a8648ce3d040302"),
    "p384": ("ecdsa-p384", "300a06082a8648ce3d040303"),
    "p521": ("ecdsa-p521", "300a06082a8648ce3d040304"),
    "bp256": ("ecdsa-brainpool256", "300a06082a8648ce3d040302"),
    "bp384": ("ecdsa-brainpool384", "300a06082a8648ce3d040303"),
    "bp512": ("ecdsa-brainpool512", "300a06082a8648ce3d040304"),
    "rsa": ("rsa-2048", "300d06092a864886f70d01010b0500"),
    "ed25519": ("ed25519", "300506032b6570"),
    "ed448": ("ed448", "300506032b6571"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_says_what_it_is(kind: str) -> None:
    """6960-25: the AlgorithmIdentifiers of BR 7.1.3.2, byte for byte; RFC 8410 §3."""
    key = new_key(kind)
    signer = native(key)
    assert signer.public_key == spki(key)
    assert (signer.name, signer.signature_algorithm.hex()) == NAMES[kind]
    assert signer.signature_algorithms[0] == signer.signature_algorithm


def test_an_rsa_key_signs_with_other_digests_and_with_pss_when_asked() -> None:
    key = new_key("rsa")
    signer = native(key)
    sha384, sha512 = (RSA_SHA256[:12] + octet + RSA_SHA256[13:] for octet in (b"\x0c", b"\x0d"))
    assert signer.signature_algorithms == (RSA_SHA256, sha384, sha512, RSA_PSS)
    for algorithm, digest in ((sha384, hashes.SHA384()), (sha512, hashes.SHA512())):
        signature = signer.sign(MESSAGE, algorithm)
        check_signature(key.public_key(), signature, MESSAGE, digest=digest)
        verify(spki(key), algorithm, MESSAGE, signature)
    for _ in range(2):  # the second time with what libcrypto has ready
        signature = signer.sign(MESSAGE, RSA_PSS)
        check_signature(key.public_key(), signature, MESSAGE, pss=True)
        verify(spki(key), RSA_PSS, MESSAGE, signature)
        check(key, signer.sign(MESSAGE))
    with pytest.raises(ValueError, match="doesn't verify"):
        verify(spki(key), RSA_SHA256, MESSAGE, signature)
    with pytest.raises(ValueError, match="rsa-2048 doesn't sign with this algorithm"):
        signer.sign(MESSAGE, ECDSA_SHA256)


def test_a_key_that_is_for_pss_alone(tmp_path: Path) -> None:
    made = tmp_path / "pss.der"
    command = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]
    subprocess.run([*command, "-outform", "DER", "-out", made], check=True, capture_output=True)
    signer = load_private_key(made.read_bytes())
    assert (signer.name, signer.signature_algorithms) == ("rsa-2048", (RSA_PSS,))
    signature = signer.sign(MESSAGE)
    verify(signer.public_key, RSA_PSS, MESSAGE, signature)
    public = serialization.load_der_public_key(signer.public_key)
    check_signature(public, signature, MESSAGE, pss=True)


AnyKey = Key | x25519.X25519PrivateKey
REFUSED: dict[str, tuple[Callable[[], AnyKey], str]] = {
    "secp256k1": (lambda: ec.generate_private_key(ec.SECP256K1()), "EC key on secp256k1"),
    "X25519": (x25519.X25519PrivateKey.generate, "type X25519"),
    "RSA-1024": (lambda: rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_keys_we_do_not_sign_with_are_refused_with_what_we_do(kind: str) -> None:
    make, sentence = REFUSED[kind]
    octets = make().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match=f"{sentence}.*supported are ECDSA on P-256"):
        load_private_key(octets)


def test_what_is_not_a_key_is_refused(key: Key) -> None:
    whole = pkcs8(key)
    for octets in (b"", b"\x30\x00", whole[:-1], b"-----BEGIN PRIVATE KEY-----", b"\x30" * 70_000):
        with pytest.raises(ValueError, match=r"PrivateKeyInfo|private key"):
            load_private_key(octets)
    with pytest.raises(ValueError, match="octets follow"):
        load_private_key(whole + b"\x00")


def test_a_failure_leaves_nothing_that_another_would_report(key: Key) -> None:
    signer = native(key)
    with pytest.raises(ValueError, match="not a private key"):
        load_private_key(b"\x30\x00")
    signature = signer.sign(MESSAGE)
    with pytest.raises(ValueError, match="not a SubjectPublicKeyInfo"):
        verify(b"\x30\x00", signer.signature_algorithm, MESSAGE, signature)
    verify(spki(key), signer.signature_algorithm, MESSAGE, signature)


def test_verify_names_what_it_cannot_read() -> None:
    key, other = new_key("ec"), new_key("rsa")
    signature = native(key).sign(MESSAGE)
    with pytest.raises(ValueError, match="isn't one of ours"):
        verify(spki(key), b"\x30\x00", MESSAGE, signature)
    with pytest.raises(ValueError, match="isn't of the signature algorithm's type"):
        verify(spki(other), ECDSA_SHA256, MESSAGE, signature)
    with pytest.raises(ValueError, match="octets follow"):
        verify(spki(key) + b"\x00", ECDSA_SHA256, MESSAGE, signature)


def test_a_private_key_is_never_copied_or_made_by_hand(key: Key) -> None:
    signer = native(key)
    for attempt in (lambda: copy.copy(signer), lambda: copy.deepcopy(signer), lambda: pickle.dumps(signer)):
        with pytest.raises(TypeError, match="never copied"):
            attempt()
    with pytest.raises(TypeError, match="read_key"):
        PrivateKey()
    with pytest.raises(TypeError, match="never copied"):
        pickle.dumps(CRLBuilder())


def test_many_threads_sign_with_one_key(key: Key) -> None:
    signer = native(key)
    made: list[tuple[bytes, bytes]] = []

    def sign(number: int) -> None:
        for index in range(50):
            message = b"%d %d" % (number, index)
            made.append((message, signer.sign(message)))

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 200
    for message, signature in made:
        check(key, signature, message)


def test_a_pss_key_that_forbids_what_we_sign_with_is_refused_when_it_is_read(tmp_path: Path) -> None:
    options = ["rsa_keygen_bits:2048", "rsa_pss_keygen_md:sha384", "rsa_pss_keygen_mgf1_md:sha384"]
    command = ["openssl", "genpkey", "-algorithm", "RSA-PSS", "-outform", "DER", "-out", str(tmp_path / "key")]
    for option in [*options, "rsa_pss_keygen_saltlen:48"]:
        command += ["-pkeyopt", option]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ValueError, match="doesn't sign with SHA-256"):
        load_private_key((tmp_path / "key").read_bytes())


def test_a_key_with_the_public_half_of_another_is_refused() -> None:
    one, other = new_key("ec"), new_key("ec")
    point = {key: spki(key)[-65:] for key in (one, other)}
    mixed = pkcs8(one).replace(point[one], point[other])
    assert mixed != pkcs8(one)
    with pytest.raises(ValueError, match="public half"):
        load_private_key(mixed)


def test_keys_of_every_kind_and_files_that_hold_none_are_read_in_turn() -> None:
    """Libcrypto's decoders are used again for the next file, after a good one as after a bad one."""
    keys = [new_key(kind) for kind in KINDS] + [new_key("ec"), new_key("rsa")]
    taken = [(pkcs8(key), spki(key)) for key in keys]
    strange = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    bad = [b"", b"0\x00", strange, taken[0][0][:-1], taken[6][0] + b"\x00", taken[0][1], bytes(100)]
    wrong: list[object] = []

    def read(start: int) -> None:
        for number in range(start, start + len(taken) * len(bad)):  # each after each
            private, public = taken[number % len(taken)]
            with pytest.raises(ValueError, match=r"."):
                load_private_key(bad[number % len(bad)])
            if load_private_key(private).public_key != public:
                wrong.append((start, number))
            with pytest.raises(ValueError, match=r"."):
                load_public_key(private)
            signature = native(keys[number % len(taken)]).sign(MESSAGE)
            load_public_key(public).verify(load_private_key(private).signature_algorithm, MESSAGE, signature)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
