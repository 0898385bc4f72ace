"""Private keys: which are taken, what they sign, and that pyca/cryptography agrees."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519

from responder._native import CRLBuilder, PrivateKey, load_private_key, verify
from tests.makers import Key, native, new_key, pkcs8, spki

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
MESSAGE = b"what is signed"


@pytest.fixture(scope="module", params=["ec", "rsa"])
def key(request: pytest.FixtureRequest) -> Key:
    return new_key(request.param)


def check(key: Key, signature: bytes, message: bytes = MESSAGE) -> None:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    else:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))


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
    else:
        signature = key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    verify(spki(key), signer.signature_algorithm, MESSAGE, signature)
    for wrong in (b"another", MESSAGE + b"\x00"):
        with pytest.raises(ValueError, match="doesn't verify"):
            verify(spki(key), signer.signature_algorithm, wrong, signature)
    for damaged in (b"", signature[:-1], signature + b"\x00", bytes(len(signature))):
        with pytest.raises(ValueError, match="doesn't verify"):
            verify(spki(key), signer.signature_algorithm, MESSAGE, damaged)


def test_a_key_says_what_it_is(key: Key) -> None:
    """6960-25: the AlgorithmIdentifiers of BR 7.1.3.2, byte for byte."""
    signer = native(key)
    assert signer.public_key == spki(key)
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    assert signer.signature_algorithm == (RSA_SHA256 if is_rsa else ECDSA_SHA256)
    assert signer.name == ("rsa-2048" if is_rsa else "ecdsa-p256")


AnyKey = Key | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey
REFUSED: dict[str, tuple[Callable[[], AnyKey], str]] = {
    "P-384": (lambda: ec.generate_private_key(ec.SECP384R1()), "EC key on secp384r1"),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, "type ED25519"),
    "X25519": (x25519.X25519PrivateKey.generate, "type X25519"),
    "RSA-1024": (lambda: rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_keys_we_do_not_sign_with_are_refused_with_what_we_do(kind: str) -> None:
    make, sentence = REFUSED[kind]
    octets = make().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match=f"{sentence}.*supported are ECDSA on P-256 and RSA"):
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
    with pytest.raises(ValueError, match="not a DER PrivateKeyInfo"):
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
    with pytest.raises(TypeError, match="load_private_key"):
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
