"""Keys, signers and what they sign: records, complete responses, CRLs; libcrypto does the cryptography."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from responder import log, metrics
from responder._native import (
    CRLBuilder,
    PrivateKey,
    SingleRow,
    StatusRow,
    encode_profile,
    load_private_key,
    verify,
)
from responder.der import der_value
from responder.errors import ConfigError, CRLError, IssuerUnavailable, SigningFailed, StatusUnavailable
from responder.interfaces import Clock
from responder.pki import (
    Answer,
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CertStatus,
    Issuer,
    PublicKey,
    Records,
    ResponseTimes,
    SigningProfile,
    encode_serial,
    epoch_seconds,
    load_profile,
    load_public_key,
    parse_certificate,
    response_times,
    tombstone_for,
)
from responder.singles import response_extensions, revocation_fields, single_status

_log = log.get("signing")

__all__ = [
    "KeyRing",
    "NativeCASigner",
    "NativeCRLSigner",
    "NativeRecordVerifier",
    "NativeSigner",
    "NativeVerifier",
    "PrivateKey",
    "Profiles",
    "Signer",
    "Signers",
    "make_profile",
    "make_signer",
    "read_private_key",
    "require_usable",
]

# A P-256 signature takes about 30 µs, a hop to a thread and back more; RSA-2048 takes about 800 µs
# (docs/decisions/0003).
_INLINE_SIGNATURES = {"ecdsa-p256": 4, "ed25519": 4}

MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)
"""Nothing is signed when this host and the database differ by more (design §4.8)."""


_Stamp = tuple[int, int, int, int, int]
"""What changes when a file is replaced, written to or opened to others: device, inode, mtime, ctime, mode."""


@dataclass(frozen=True, slots=True)
class _KeyFile:
    stamp: _Stamp
    key: PrivateKey | None
    faults: tuple[str, ...]


class KeyRing:
    """The private keys in one folder, found by their public half; files end in .pem or .key.

    A file that can't be used doesn't keep the others from it: `faults` has a sentence for each.
    """

    def __init__(self, directory: Path | None, *, before: KeyRing | None = None) -> None:
        """Files that are as they were when `before` was made aren't read again."""
        self.faults: list[str] = []
        self._directory = directory
        self._looked_at = time.monotonic()
        self._folder = _stamp_of_folder(directory)
        self._files: dict[str, _KeyFile] = {}
        self._keys: dict[bytes, PrivateKey] = {}
        unread: list[tuple[str, _Stamp]] = []
        for entry in _key_files(directory):
            try:
                found = entry.stat()
            except FileNotFoundError:
                continue  # it has gone since the folder was read
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
            known = None if before is None else before._files.get(entry.path)
            if known is not None and known.stamp == stamp:
                self._files[entry.path] = known
            else:
                unread.append((entry.path, stamp))
        for path, read in _read_key_files(unread):
            self._files[path] = read
        for path in sorted(self._files):
            read = self._files[path]
            self.faults.extend(read.faults)
            if read.key is not None:
                self._keys[read.key.public_key] = read.key

    def may_be_outdated(self, seconds: float) -> bool:
        """Whether files have come or gone since this was made; or it was made so long ago that one may have been
        written to, which a folder doesn't show."""
        return time.monotonic() - self._looked_at > seconds or _stamp_of_folder(self._directory) != self._folder

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, public_key: bytes) -> PrivateKey | None:
        """The key whose DER SubjectPublicKeyInfo this is."""
        return self._keys.get(public_key)

    def ca_signer(self, public_key: bytes) -> NativeCASigner | None:
        """The same key, to issue certificates with."""
        key = self._keys.get(public_key)
        return None if key is None else NativeCASigner(key)


def _key_files(directory: Path | None) -> list[os.DirEntry[str]]:
    if directory is None or not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        found = [entry for entry in entries if entry.name.endswith((".pem", ".key")) and entry.is_file()]
    return sorted(found, key=lambda entry: entry.name)


def _stamp_of_folder(directory: Path | None) -> int | None:
    if directory is None:
        return None
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return None


def _read_key_files(files: Sequence[tuple[str, _Stamp]]) -> Iterable[tuple[str, _KeyFile]]:
    if len(files) < _FEW_FILES:
        return [(path, _read_key_file(Path(path), stamp)) for path, stamp in files]
    # Most of it is libcrypto's work, without the GIL.
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as threads:
        read = threads.map(lambda file: _read_key_file(Path(file[0]), file[1]), files)
        return [(path, key_file) for (path, _), key_file in zip(files, read, strict=True)]


_FEW_FILES = 64


def _read_key_file(path: Path, stamp: _Stamp) -> _KeyFile:
    try:
        return _KeyFile(stamp, load_private_key(read_private_key(path)), ())
    except ConfigError as error:
        return _KeyFile(stamp, None, error.faults)
    except ValueError as error:
        return _KeyFile(stamp, None, (f"{path}: {error}",))


_PKCS8 = re.compile(rb"-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PRIVATE KEY-----")


def read_private_key(path: Path) -> bytes:
    """The DER PrivateKeyInfo of a PEM file.

    Raises:
        ConfigError: unreadable, readable by others, encrypted, or not a key.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(f"{path}: the key can be read by others than its owner; chmod 600 {path}")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the key can't be read: {error.strerror}") from error
    try:
        # As it is: a key for RSASSA-PSS alone (RFC 4055 §1.2) would lose that on the way through another library.
        found = _PKCS8.search(content)
        if found is not None:
            return base64.b64decode(b"".join(found[1].split()), validate=True)
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError as error:
        raise ConfigError(
            f"{path}: the key is encrypted; write it without a passphrase into a file of mode 0600 "
            f"(openssl pkey -in {path} -out NEW)"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not a PEM private key: {error}") from error
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """One responder key with its certificate, allowed to sign for one issuer."""

    issuer: Issuer
    key: PrivateKey
    profile: SigningProfile
    not_before: datetime
    not_after: datetime


def make_signer(issuer: Issuer, certificate: bytes, key: PrivateKey) -> Signer:
    """Check that this certificate (DER) may sign for the issuer with this key, and make its profile.

    Raises:
        ConfigError: a sentence for everything that is wrong with it.
    """
    faults: list[str] = []
    if parse_certificate(certificate)[3] != key.public_key:
        faults.append(
            f"responder certificate of issuer {issuer.id}: it isn't of this key; give the certificate made for the "
            "key's CSR"
        )
    try:
        profile, parsed = _make_profile(issuer, certificate)
    except ConfigError as error:
        raise ConfigError(*faults, *error.faults) from error
    if faults:
        raise ConfigError(*faults)
    return Signer(issuer, key, profile, parsed.not_valid_before_utc, parsed.not_valid_after_utc)


def make_profile(issuer: Issuer, certificate: bytes) -> SigningProfile:
    """The profile that whoever has the key of this certificate (DER) signs with for the issuer.

    Raises:
        ConfigError: a sentence for everything that keeps it from signing.
    """
    return _make_profile(issuer, certificate)[0]


def require_usable(certificate: bytes, issuer: Issuer, now: datetime) -> None:
    """Refuse a certificate (DER) that can't sign at this moment: its time hasn't come, or is over.

    Raises:
        ConfigError: it says when it is valid.
    """
    parsed = x509.load_der_x509_certificate(certificate)
    if not parsed.not_valid_before_utc <= now < parsed.not_valid_after_utc:
        raise ConfigError(
            f"{_where(issuer, parsed)}: it is valid from {parsed.not_valid_before_utc.isoformat()} to "
            f"{parsed.not_valid_after_utc.isoformat()}, which isn't now ({now.isoformat(timespec='seconds')}); give "
            "one that is, and look at the clock"
        )


def _where(issuer: Issuer, parsed: x509.Certificate) -> str:
    return f"responder certificate of issuer {issuer.id} (serial 0x{parsed.serial_number:x})"


def _make_profile(issuer: Issuer, certificate: bytes) -> tuple[SigningProfile, x509.Certificate]:
    """Source: RFC 6960 §4.2.2.2 (delegation), §4.2.1 (ResponderID); BR 7.1.2.8 (BR-08); incident I-8."""
    try:
        _, _, subject, spki, key_bits = parse_certificate(certificate)
        parsed = x509.load_der_x509_certificate(certificate)
        where = _where(issuer, parsed)
        algorithms = load_public_key(spki).signature_algorithms
        faults = _faults(issuer, parsed, where, is_issuer_itself=certificate == issuer.certificate)
    except ValueError as error:  # what a parser finds in it
        raise ConfigError(f"a responder certificate of issuer {issuer.id} can't be read: {error}") from error
    if not algorithms:
        faults.append(f"{where}: its key is of a kind or size that nothing here signs with")
    if faults:
        raise ConfigError(*faults)
    responder_id = (
        der_value(0xA1, subject)
        if issuer.policy.responder_id_by_name
        # byKey is SHA-1 whatever the CertID's hash (requirement 6960-16).
        else der_value(0xA2, der_value(0x04, hashlib.sha1(key_bits, usedforsecurity=False).digest()))
    )
    profile = load_profile(
        encode_profile(
            issuer_tag=issuer.tag,
            cert_id_hashes=issuer.cert_id_hashes,
            signature_algorithm=_signature_algorithm(issuer, algorithms),
            responder_id=responder_id,
            certificates=[] if certificate == issuer.certificate else [certificate],
            response_extensions=response_extensions(issuer.policy),
            generation=issuer.policy.generation,
        )
    )
    return profile, parsed


def _faults(issuer: Issuer, parsed: x509.Certificate, where: str, *, is_issuer_itself: bool) -> list[str]:
    """Everything that keeps a certificate from signing for the issuer."""
    faults: list[str] = []
    try:
        signs = parsed.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    if not signs and is_issuer_itself and not issuer.policy.baseline:
        _log.warning("ca_without_digital_signature_signs_answers", issuer=issuer.id)
    elif not signs:
        rule = "BR 7.1.2.10.7" if is_issuer_itself else "RFC 5280 §4.2.1.3, BR 7.1.2.8"
        faults.append(f"{where}: its keyUsage has no digitalSignature, so it may not sign answers ({rule})")
    if is_issuer_itself:
        return faults
    try:
        parsed.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
    except (ValueError, TypeError, InvalidSignature):
        faults.append(f"{where}: it wasn't issued directly by {issuer.id}; a delegate must be (RFC 6960 §4.2.2.2)")
    try:
        usages = list(parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = []
    if usages != [ExtendedKeyUsageOID.OCSP_SIGNING]:
        faults.append(f"{where}: its extendedKeyUsage must be OCSPSigning and nothing else")
    try:
        if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            faults.append(f"{where}: it is a CA certificate; a CA must not be a delegated responder")
    except x509.ExtensionNotFound:
        pass
    try:
        parsed.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except x509.ExtensionNotFound:
        if issuer.policy.baseline:
            faults.append(f"{where}: it has no id-pkix-ocsp-nocheck, which the Baseline Requirements want (7.1.2.8)")
        else:
            _log.warning("responder_certificate_without_nocheck", issuer=issuer.id, serial=hex(parsed.serial_number))
    return faults


_RSA_PSS = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)
"""RSASSA-PSS with SHA-256, byte for byte as BR 7.1.3.2.1 has it."""


def _signature_algorithm(issuer: Issuer, algorithms: Sequence[bytes]) -> bytes:
    """Which of a key's algorithms signs for this issuer: its own, or PSS where that was chosen and the key is RSA."""
    return _RSA_PSS if issuer.policy.rsa_pss and _RSA_PSS in algorithms else algorithms[0]


class Signers:
    """The signers of this process, at most one in use for each issuer; replaced as a whole."""

    def __init__(self, signers: Iterable[Signer] = ()) -> None:
        self._by_issuer: dict[str, list[Signer]] = {}
        self.replace(signers)

    def replace(self, signers: Iterable[Signer]) -> None:
        """Take exactly these from now on; of one issuer the one that lives longest signs."""
        by_issuer: dict[str, list[Signer]] = {}
        for signer in sorted(signers, key=lambda signer: signer.not_after, reverse=True):
            by_issuer.setdefault(signer.issuer.id, []).append(signer)
        self._by_issuer = by_issuer

    def for_issuer(self, issuer: Issuer, now: datetime, signature_algorithm: bytes | None = None) -> Signer:
        """The signer to use at this moment, or the one for an algorithm that `algorithms` has.

        Raises:
            IssuerUnavailable: none here, or none valid now.
        """
        for signer in self._by_issuer.get(issuer.id, ()):
            if signer.not_before <= now < signer.not_after and signature_algorithm in {
                None,
                signer.profile.signature_algorithm,
            }:
                return signer
        raise IssuerUnavailable(f"no valid responder key and certificate for issuer {issuer.id} on this host")

    def algorithms(self, issuer: Issuer, now: datetime) -> list[bytes]:
        """See `SignatureAlgorithms.algorithms`."""
        return [
            signer.profile.signature_algorithm
            for signer in self._by_issuer.get(issuer.id, ())
            if signer.not_before <= now < signer.not_after
        ]

    def __iter__(self) -> Iterator[Signer]:
        return (signer for signers in self._by_issuer.values() for signer in signers)


class Profiles:
    """The signing profiles known to this process; replaced as a whole."""

    def __init__(self, profiles: Iterable[SigningProfile] = ()) -> None:
        self._by_id: dict[bytes, SigningProfile] = {}
        self.replace(profiles)

    def replace(self, profiles: Iterable[SigningProfile]) -> None:
        """Take exactly these from now on."""
        self._by_id = {profile.id: profile for profile in profiles}

    def get(self, profile_id: bytes) -> SigningProfile | None:
        """The profile, or None: unknown here, or retired."""
        return self._by_id.get(profile_id)


class NativeSigner:
    """Signs records and complete responses with the native core; implements `RecordSigner` and `ResponseSigner`."""

    def __init__(self, signers: Signers, clock: Clock, *, backdate: timedelta) -> None:
        self._signers = signers
        self._clock = clock
        self._backdate = backdate
        self._may_log = log.OncePerSecond()

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        """See `RecordSigner.sign`."""
        if not statuses:
            return []
        now = self._clock.now()
        signer = self._signers.for_issuer(statuses[0].certificate.issuer, now)
        issuer = signer.issuer  # as it was when the signer's profile was made: policy and profile go together
        rows: list[StatusRow] = []
        unsayable: dict[int, Records] = {}
        # The rows of a statement have one as_of, and so one set of times.
        as_of: datetime | None = None
        this_update = next_update = microseconds = 0
        for index, status in enumerate(statuses):
            version = status.version
            if version.as_of != as_of:
                as_of = version.as_of
                times = self._times(signer, as_of, now)
                this_update, next_update = epoch_seconds(times.this_update), epoch_seconds(times.next_update)
                microseconds = version.as_of_microseconds
            fault = status.fault
            if fault is not None:
                unsayable[index] = tombstone_for(status)
                self._report(status, fault)
                continue
            single = single_status(issuer, status, now)
            revocation_time, reason = revocation_fields(single.revoked_info)
            rows.append(
                StatusRow(
                    status.certificate.serial,
                    single.cert_status,
                    revocation_time,
                    reason,
                    this_update,
                    next_update,
                    version.epoch,
                    version.number,
                    microseconds,
                    single.extensions,
                )
            )
        variants = [int(variant) for variant in issuer.policy.variants]
        signatures = len(rows) * len(variants)
        produced_at = epoch_seconds(now)
        started = time.perf_counter()
        if signatures <= _INLINE_SIGNATURES.get(signer.key.name, 0):
            records = signer.profile.sign_records(signer.key, rows, variants, produced_at)
        else:
            records = await asyncio.to_thread(signer.profile.sign_records, signer.key, rows, variants, produced_at)
        if signatures:
            metrics.observe_signatures(signer.key.name, signatures, time.perf_counter() - started)
        if not unsayable:
            return records
        signed = iter(records)
        return [unsayable.get(index) or next(signed) for index in range(len(statuses))]

    def _report(self, status: CertificateStatus, fault: str) -> None:
        metrics.UNSAYABLE.inc()
        if self._may_log("unsayable"):
            _log.error(
                "status_cannot_be_signed",
                issuer=status.certificate.issuer.id,
                serial=hex(status.certificate.serial_number),
                error=fault,
                remedy="certstatus db check",
            )

    async def sign_response(
        self,
        issuer: Issuer,
        answers: Sequence[tuple[CertIDVariant, int, CertificateStatus | None]],
        *,
        nonce: bytes | None,
        signature_algorithm: bytes | None = None,
    ) -> Answer:
        """See `ResponseSigner.sign_response`."""
        now = self._clock.now()
        signer = self._signers.for_issuer(issuer, now, signature_algorithm)
        issuer = signer.issuer  # policy and profile go together
        # One response, one set of times: the earliest of what was read. A serial we never saw is unknown as of now.
        as_of = min((status.version.as_of for _, _, status in answers if status is not None), default=now)
        times = self._times(signer, as_of, now)
        this_update, next_update = epoch_seconds(times.this_update), epoch_seconds(times.next_update)
        singles = []
        for variant, serial_number, status in answers:
            if status is not None and status.fault is not None:
                self._report(status, status.fault)
                raise SigningFailed(f"a status that no answer can say: {status.fault}")
            single = single_status(issuer, status, now)
            revocation_time, reason = revocation_fields(single.revoked_info)
            singles.append(
                SingleRow(
                    variant,
                    encode_serial(serial_number),
                    single.cert_status,
                    revocation_time,
                    reason,
                    this_update,
                    next_update,
                    single.extensions,
                )
            )
        started = time.perf_counter()
        arguments = (signer.key, singles, epoch_seconds(now), nonce)
        if signer.key.name in _INLINE_SIGNATURES:
            der = signer.profile.sign_response(*arguments)
        else:
            der = await asyncio.to_thread(signer.profile.sign_response, *arguments)
        metrics.observe_signatures(signer.key.name, 1, time.perf_counter() - started)
        return Answer(
            this_update=times.this_update,
            next_update=times.next_update,
            refresh_at=times.refresh_at,
            max_age=timedelta(0),
            cacheable=False,
            source="live",
            der=der,
            cert_statuses=tuple(CertStatus(single.cert_status) for single in singles),
        )

    def _times(self, signer: Signer, as_of: datetime, now: datetime) -> ResponseTimes:
        if abs(now - as_of) > MAX_CLOCK_DIFFERENCE:
            raise StatusUnavailable(
                f"the status is as of {as_of.isoformat()} but this host's clock says {now.isoformat()}; nothing is "
                f"signed when they differ by more than {MAX_CLOCK_DIFFERENCE.seconds} s: set the clocks (NTP)"
            )
        policy = signer.issuer.policy
        times = response_times(
            min(as_of, now),  # an answer's this_update is never after its producedAt
            validity=policy.validity,
            refresh=policy.refresh,
            backdate=self._backdate,
            not_after=(signer.not_after, signer.issuer.not_after),
        )
        if times.next_update <= now:
            raise IssuerUnavailable(f"the signer of issuer {signer.issuer.id} expires before an answer could")
        return times


class NativeVerifier:
    """Verifies with the native core; implements `SignatureVerifier`."""

    def verifies(self, certificate: bytes, signature_algorithm: bytes, message: bytes, signature: bytes) -> bool:
        """See `SignatureVerifier.verifies`."""
        try:
            verify(parse_certificate(certificate)[3], signature_algorithm, message, signature)
        except ValueError:
            return False
        return True


class NativeRecordVerifier:
    """Verifies records when they are first met; implements `RecordVerifier`."""

    def __init__(self, *, remembered: int = 100_000) -> None:
        """`remembered` records are known to be right, in about 10 MB; then it begins anew."""
        self._remembered = remembered
        self._right: set[bytes] = set()
        self._keys: dict[bytes, PublicKey] = {}

    def verifies(self, certificate: Certificate, profile: SigningProfile, records: Records, variant: int) -> bool:
        """See `RecordVerifier.verifies`."""
        seen = hashlib.blake2b(records.encoded + certificate.serial, digest_size=16, salt=bytes([variant])).digest()
        if seen in self._right:
            return True
        try:
            profile.verify(self._key(certificate.issuer, profile), records, variant, certificate.serial)
        except (KeyError, ValueError):
            return False
        # What isn't signed must lie where signing put it.
        earliest, latest = records.this_update, records.produced_at + MAX_CLOCK_DIFFERENCE.seconds + 1
        if not earliest * 1_000_000 <= records.as_of_microseconds <= latest * 1_000_000:
            return False
        if len(self._right) >= self._remembered:
            self._right.clear()
        self._right.add(seen)
        return True

    def _key(self, issuer: Issuer, profile: SigningProfile) -> PublicKey:
        key = self._keys.get(profile.id)
        if key is None:
            spki = parse_certificate(profile.certificates[0])[3] if profile.certificates else issuer.public_key
            key = self._keys[profile.id] = load_public_key(spki)
        return key


class NativeCASigner:
    """A CA's key from a `KeyRing`; implements `CASigner`."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def algorithm_for(self, issuer: Issuer) -> bytes:
        """See `CASigner.algorithm_for`."""
        return _signature_algorithm(issuer, self._key.signature_algorithms)

    def sign(self, message: bytes, signature_algorithm: bytes, /) -> bytes:
        """See `CASigner.sign`."""
        return self._key.sign(message, signature_algorithm)


class NativeCRLSigner:
    """Signs CRLs with CA keys from a `KeyRing`; implements `CRLSigner`."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def use(self, keys: KeyRing) -> None:
        """Sign with these from now on."""
        self._keys = keys

    def can_sign(self, issuer: Issuer) -> bool:
        """Whether this host holds the issuer's key."""
        return self._keys.get(issuer.public_key) is not None

    async def sign_crl(
        self,
        issuer: Issuer,
        *,
        crl_number: int,
        this_update: datetime,
        next_update: datetime,
        entries: CRLBuilder,
    ) -> bytes:
        """See `CRLSigner.sign_crl`."""
        key = self._keys.get(issuer.public_key)
        if key is None:
            raise CRLError(f"issuer {issuer.id}: its key isn't among the CA keys of this host")
        try:
            return await asyncio.to_thread(
                entries.sign,
                key,
                issuer.name,
                issuer.key_identifier,
                crl_number,
                epoch_seconds(this_update),
                epoch_seconds(next_update),
                b"",
                _signature_algorithm(issuer, key.signature_algorithms),
            )
        except ValueError as error:
            raise SigningFailed(f"CRL of issuer {issuer.id}: {error}") from error
