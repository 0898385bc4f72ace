"""What an installation of a given size needs: from the costs that docs/performance.md has measured, and from how fast
the machine at hand signs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from responder.errors import ConfigError
from responder.ocsp.presign import TURN_SHARE
from responder.signing.key_files import KINDS, new_key

# Microseconds of CPU on the machine of docs/performance.md, where a P-256 signature takes SIGNATURE; on another machine
# they are longer or shorter as that is.
_SIGNATURE = 30.0
_ANSWER = 5.3  # a hit, all processes of a host together
_RENEWAL = 26.0  # of a certificate beside its signatures: rows, records, the database's and the store's share
_NONCE = 12.0  # beside its signature

# Octets.
_RECORD = 63  # of a record beside its signatures
IN_STORE = 118  # what Valkey 9 adds to it: key, expiry, seal, allocation
_IN_TABLE = 87  # what a host's table adds to it
_IN_DATABASE = 420  # of a row with its indexes and its announcement, right after an import
_ISSUED_BITS = 20  # of the filter of issued serials, for one look in 3,000 that is for nothing
_HEAD = 300  # of an HTTP answer
_ANSWER_BODY = 540  # of an OCSPResponse with a delegate's certificate, beside its two signatures and its key
_CRL_ENTRY = 40

_SIGNATURE_OCTETS = {
    "ecdsa-p256": 64, "ecdsa-p384": 96, "ecdsa-p521": 132, "ecdsa-brainpool256": 64, "ecdsa-brainpool384": 96,
    "ecdsa-brainpool512": 132, "rsa-2048": 256, "rsa-3072": 384, "rsa-4096": 512, "ed25519": 64, "ed448": 114,
}  # fmt: skip

USED = 0.6
"""Of a core; above that answers wait for each other."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is to be served."""

    certificates: int
    requests_per_second: float
    algorithm: str = "ecdsa-p256"
    hashes: int = 2
    refresh: timedelta = timedelta(hours=36)
    revoked_ratio: float = 0.02
    nonce_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Signatures a second by one core: with the algorithm in question, and with P-256."""

    signatures: float
    p256: float

    @property
    def slowness(self) -> float:
        """How many times longer everything takes than on the machine of docs/performance.md."""
        return 1e6 / self.p256 / _SIGNATURE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a size needs, on machines as fast as this one. Cores are kept busy to `USED`; octets are of one copy."""

    signatures_per_second: float
    signing_cores: float
    everything_core_seconds: float
    serving_cores: float
    network_bits_per_second: float
    store_octets: int
    table_octets: int
    issued_octets: int
    database_octets: int
    crl_octets: int


def measure(algorithm: str, *, seconds: float = 0.4) -> Speed:
    """How fast this machine signs, by one core, now.

    Raises:
        ConfigError: an algorithm that no key can be made for here.
    """
    if algorithm not in KINDS:
        raise ConfigError(f"--algorithm {algorithm}: it is one of {', '.join(KINDS)}")
    p256 = _rate("ecdsa-p256", seconds)
    return Speed(p256 if algorithm == "ecdsa-p256" else _rate(algorithm, seconds), p256)


def _rate(kind: str, seconds: float) -> float:
    """Signatures for each second of CPU."""
    key, message, count = new_key(kind), bytes(300), 0
    started = time.process_time()
    while (used := time.process_time() - started) < seconds:
        key.sign(message)
        count += 1
    return count / used


def plan(size: Size, speed: Speed) -> Plan:
    """What this size needs."""
    signature = 1e6 / speed.signatures
    renewal = size.hashes * signature + _RENEWAL * speed.slowness
    per_second = size.certificates / (TURN_SHARE * size.refresh.total_seconds())
    octets = _SIGNATURE_OCTETS[size.algorithm]
    record = _RECORD + size.hashes * (1 + octets)
    answer = _ANSWER * speed.slowness + size.nonce_ratio * (signature + _NONCE * speed.slowness)
    return Plan(
        signatures_per_second=per_second * size.hashes,
        signing_cores=per_second * renewal / 1e6 / USED,
        everything_core_seconds=size.certificates * renewal / 1e6,
        serving_cores=size.requests_per_second * answer / 1e6 / USED,
        network_bits_per_second=8 * size.requests_per_second * (_ANSWER_BODY + 3 * octets + _HEAD),
        store_octets=size.certificates * (record + IN_STORE),
        table_octets=size.certificates * (record + _IN_TABLE),
        issued_octets=size.certificates * _ISSUED_BITS // 8,
        database_octets=size.certificates * _IN_DATABASE,
        crl_octets=round(size.certificates * size.revoked_ratio) * _CRL_ENTRY,
    )
