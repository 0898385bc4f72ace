"""Nothing of ours stays in libcrypto's error queue: Python's ssl takes what it finds there for its own."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from responder._native import load_public_key, verify
from tests.makers import load_private_key, native, new_key, pkcs8, spki


@pytest.fixture(scope="module")
def first_error() -> Callable[[], int]:
    """The oldest entry in this thread's queue of the libcrypto that the core uses, and 0 where there is none."""
    load_private_key(pkcs8(new_key("ec")))
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libcrypto" in line}
    (path,) = {name for name in mapped if "/libcrypto.so" in name}
    library = ctypes.CDLL(path)
    library.ERR_peek_error.restype = ctypes.c_ulong
    # It sees what another leaves there.
    library.ERR_clear_error()
    assert not library.d2i_PUBKEY(None, ctypes.byref(ctypes.c_char_p(b"junk")), ctypes.c_long(4))
    assert library.ERR_peek_error() != 0
    library.ERR_clear_error()

    def peek() -> int:
        found: int = library.ERR_peek_error()
        return found

    return peek


@pytest.mark.parametrize("kind", ["ec", "p384", "p521", "bp256", "bp384", "bp512", "rsa", "ed25519", "ed448"])
def test_after_keys_and_signatures_good_and_bad(first_error: Callable[[], int], kind: str) -> None:
    key = new_key(kind)
    signer = native(key)
    for algorithm in signer.signature_algorithms:
        signature = signer.sign(b"text", algorithm)
        verify(spki(key), algorithm, b"text", signature)
        assert first_error() == 0
        for bad in (b"", b"junk", signature[:-1], bytes(len(signature))):
            with pytest.raises(ValueError, match="doesn't verify"):
                verify(spki(key), algorithm, b"text", bad)
            assert first_error() == 0


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_after_damaged_keys(first_error: Callable[[], int], kind: str) -> None:
    key = new_key(kind)
    for load, good in ((load_private_key, pkcs8(key)), (load_public_key, spki(key))):
        for position in range(min(len(good), 400)):
            with contextlib.suppress(ValueError):
                load(good[:position] + bytes([good[position] ^ 0x21]) + good[position + 1 :])
            assert first_error() == 0, position


def test_after_keys_of_kinds_that_are_not_taken(first_error: Callable[[], int]) -> None:
    for key in (
        ec.generate_private_key(ec.SECP256K1()),
        x25519.X25519PrivateKey.generate(),
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
    ):
        with pytest.raises(ValueError, match="supported are"):
            load_private_key(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        assert first_error() == 0
        with contextlib.suppress(ValueError):
            load_public_key(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        assert first_error() == 0
