"""The native core: DER, signing and records on the system's libcrypto.

Times are integers: seconds since 1970-01-01T00:00:00Z unless the name says otherwise. Serial numbers are the
content octets of a minimal DER INTEGER (two's complement, big-endian, 1 octet or more).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self, final

from responder._native.rows import (
    CertIDRow,
    CertificateParts,
    ExtensionParts,
    IssuerRow,
    RequestHead,
    RequestRow,
    SignatureRow,
    SingleRow,
    StatusRow,
)

__all__ = [
    "CRLBuilder",
    "CertIDRow",
    "CertificateParts",
    "CopiedStatuses",
    "ExtensionParts",
    "Floors",
    "Framing",
    "GENERATED_KINDS",
    "Gate",
    "Issued",
    "IssuerRow",
    "Lane",
    "Limiter",
    "LiveKeys",
    "MAX_CERT_IDS",
    "MAX_REQUEST_BYTES",
    "Networks",
    "Page",
    "Pages",
    "PrivateKey",
    "PublicKey",
    "Records",
    "RequestHead",
    "RequestRow",
    "Responder",
    "Seal",
    "SignatureRow",
    "SigningProfile",
    "SingleRow",
    "StatusRow",
    "Table",
    "crl_excerpt",
    "decode_records",
    "encode_profile",
    "find_request",
    "generate_key",
    "load_profile",
    "load_public_key",
    "open_key",
    "pack_issuer",
    "packed_command",
    "parse_certificate",
    "parse_ocsp_request",
    "proxy_header",
    "read_key",
    "read_request",
    "tombstone",
    "verify",
    "write_key",
]

MAX_REQUEST_BYTES: Final[int]
"""16,384: a longer OCSPRequest is refused before it is looked at."""

MAX_CERT_IDS: Final[int]
"""20: the most CertIDs one request may hold."""

# CertID variants: 1 SHA-1, 2 SHA-256, 3 SHA-384, 4 SHA-512 with NULL parameters; + 16 with absent parameters;
# 0 a hash we don't know.

def parse_ocsp_request(octets: bytes, /) -> RequestRow:
    """Read an OCSPRequest strictly; all input must be consumed.

    Raises:
        MalformedRequest: with a sentence that says what and at which offset.

    Source: RFC 6960 §4.1.1, §4.4.1; RFC 9654 §2.1.
    """

def parse_certificate(octets: bytes, /) -> CertificateParts:
    """The parts of a certificate, byte for byte as they stand in it. What names and extensions say isn't looked at, an
    encoded `critical FALSE` is taken.

    Raises:
        ValueError: not a certificate, or trailing bytes; with the field.

    Source: RFC 5280 §4.1.
    """

@final
class PrivateKey:
    """One private key, owned by libcrypto. Made by `read_key`, `open_key` or `generate_key`; safe for many threads."""

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
    @property
    def signature_algorithm(self) -> bytes:
        """DER AlgorithmIdentifier of what `sign` makes unless told otherwise."""
    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        """All that it can sign with, its own first: an RSA key also with SHA-384, SHA-512 and PSS."""
    @property
    def name(self) -> str:
        """A bounded label for metrics and logs: `ecdsa-p256`, `rsa-2048`, `rsa-other`, `ed25519`, `ml-dsa-65`, …"""
    @property
    def is_local(self) -> bool:
        """Whether signing is a computation of this process; else something else is asked, and that may take long."""
    def sign(self, message: bytes, signature_algorithm: bytes | None = None, /) -> bytes:
        """The signature as it stands in a BIT STRING (ECDSA as DER). Releases the GIL.

        Raises:
            SigningFailed: libcrypto refused.
            ValueError: not one of `signature_algorithms`.
        """

GENERATED_KINDS: tuple[str, ...]
"""The kinds of key that can be made, under the names that `PrivateKey.name` has."""

def read_key(descriptor: int, /) -> PrivateKey:
    """The private key in an open file, PEM or DER, from where it stands to its end.

    Raises:
        OSError: it can't be read.
        KeyIsEncrypted: it needs a passphrase.
        ValueError: not a key, a key type or a curve we don't sign with, RSA under 2048 bits, a PSS key that forbids
            SHA-256 with 32 octets of salt, or an EC key with another's public half.
    """

def open_key(uri: str, /) -> PrivateKey:
    """The private key that a URI names, by the loaders of libcrypto and its providers (OSSL_STORE): `file:` by the
    default provider, others by whichever has them. No passphrase is asked for.

    Raises:
        ValueError: no loader, no key, or as `read_key`.
    """

def generate_key(kind: str, /) -> PrivateKey:
    """A new key of one of `GENERATED_KINDS`. Releases the GIL.

    Raises:
        ValueError: another kind.
    """

def write_key(key: PrivateKey, descriptor: int, /) -> None:
    """Write a key to an open file, as PEM PrivateKeyInfo without a passphrase.

    Raises:
        OSError: it can't be written.
        ValueError: its provider doesn't give it away.
    """

@final
class PublicKey:
    """One public key, owned by libcrypto. Made by `load_public_key`; safe to use from many threads."""

    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        """What its private half signs with, as `PrivateKey.signature_algorithms`; empty where it isn't one of ours."""
    def verify(self, signature_algorithm: bytes, message: bytes, signature: bytes, /) -> None:
        """Check a signature of one of our algorithms. Releases the GIL.

        Raises:
            ValueError: it doesn't verify, or the key isn't of the algorithm's type.
        """

def load_public_key(spki: bytes, /) -> PublicKey:
    """Read a DER SubjectPublicKeyInfo.

    Raises:
        ValueError: it isn't one that libcrypto reads.
    """

def verify(spki: bytes, signature_algorithm: bytes, message: bytes, signature: bytes, /) -> None:
    """Check a signature of one of our algorithms. Releases the GIL.

    Raises:
        ValueError: it doesn't verify, or the key can't be read.
    """

@final
class SigningProfile:
    """All that is the same for a signer's answers, under the hash of it. Immutable. Made by `load_profile`."""

    @property
    def id(self) -> bytes:
        """The first 16 octets of SHA-256 of `body`."""
    @property
    def body(self) -> bytes:
        """What is stored and distributed: format octet, then DER."""
    @property
    def issuer_tag(self) -> bytes:
        """8 octets, see `pki.Issuer.tag`."""
    @property
    def generation(self) -> int:
        """Tells profiles apart that are otherwise the same, so that one can be retired and its successor used."""
    @property
    def signature_algorithm(self) -> bytes: ...
    @property
    def responder_id(self) -> bytes: ...
    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER certificates of the `certs` field, the delegate first; empty for a CA-signed profile."""
    def render(self, records: Records, variant: int, serial: bytes, /) -> bytes:
        """The whole DER OCSPResponse of one certificate for one CertID variant, as it was signed.

        Raises:
            KeyError: `records` has no such variant.
            ValueError: `records` is of another profile or another certificate.
        """
    def verify(self, key: PublicKey, records: Records, variant: int, serial: bytes, /) -> None:
        """Check the signature of one variant of records, over what `render` would send.

        Raises:
            KeyError: `records` has no such variant.
            ValueError: it doesn't verify, or `records` is of another profile or certificate.
        """
    def sign_response(
        self,
        key: PrivateKey,
        singles: Sequence[tuple[int, bytes, int, int, int, int, int, bytes]],
        produced_at: int,
        nonce: bytes | None,
        /,
    ) -> bytes:
        """Sign one complete DER OCSPResponse, for a nonce or several CertIDs.

        Args:
            singles: `SingleRow`s, or tuples like them.
            nonce: the extnValue content to return unchanged, or None.
        """
    def take_over(
        self,
        status: tuple[bytes, int, int, int, int, int, int, int, int, bytes],
        produced_at: int,
        answers: Sequence[tuple[int, bytes]],
        /,
    ) -> Records:
        """Records of answers that were made elsewhere, sent as they came.

        Args:
            status: a `StatusRow`, or a tuple like one, without extensions; next_update is until when the records may
                be used, not after any answer's own.
            produced_at: when the records are made.
            answers: variant and DER OCSPResponse.

        Raises:
            ValueError: something that records can't hold.
        """
    def sign_records(
        self,
        key: PrivateKey,
        statuses: Sequence[tuple[bytes, int, int, int, int, int, int, int, int, bytes]],
        variants: Sequence[int],
        produced_at: int,
        /,
    ) -> list[Records]:
        """Sign one response per certificate and variant, as records. Releases the GIL for the whole batch.

        Args:
            statuses: `StatusRow`s, or tuples like them.

        Raises:
            SigningFailed: libcrypto refused; nothing of the batch is returned.
        """
    def sign_goods(
        self,
        key: PrivateKey,
        statuses: CopiedStatuses,
        variants: Sequence[int],
        this_update: int,
        next_update: int,
        now: int,
        /,
    ) -> list[Records | None]:
        """The same of those copied statuses that are good at `now`, nothing being added to their answers; None for the
        others: what is revoked, not within its validity, or can't be encoded.

        Args:
            now: microseconds since 1970; produced_at is its second.
        """

def encode_profile(
    *,
    issuer_tag: bytes,
    cert_id_hashes: Sequence[tuple[bytes, bytes]],
    signature_algorithm: bytes,
    responder_id: bytes,
    certificates: Sequence[bytes],
    response_extensions: bytes = b"",
    generation: int = 1,
) -> bytes:
    """The body of a profile.

    Args:
        generation: 1 to 2^31 - 1.
        cert_id_hashes: `(issuer_name_hash, issuer_key_hash)` for SHA-1, SHA-256, SHA-384 and SHA-512, in that order.
        responder_id: DER of the ResponderID CHOICE, with its explicit tag.
        response_extensions: DER Extension values one after the other, in every answer of this profile.
    """

def load_profile(body: bytes, /) -> SigningProfile:
    """Read a profile's body.

    Raises:
        ValueError: of a format this version doesn't know, or damaged.
    """

@final
class Records:
    """All pre-signed variants of one certificate, in about 100 octets a variant. Immutable.

    A tombstone has no variants: it says that an older status may no longer be answered, and is a miss.
    """

    @property
    def encoded(self) -> bytes:
        """What is stored. Octet 0 is the format (1 or 2); 1..4 epoch, 5..12 number, 13..20 as_of in microseconds, all
        big-endian, so that a store compares and parses them without this library; octet 21, bits 0-1 cert_status."""
    @property
    def is_tombstone(self) -> bool: ...
    @property
    def is_verbatim(self) -> bool:
        """Whether they are whole answers that were made elsewhere; `produced_at` is when they became records."""
    @property
    def profile_id(self) -> bytes: ...
    @property
    def cert_status(self) -> int: ...
    @property
    def revocation_time(self) -> int | None: ...
    @property
    def revocation_reason(self) -> int | None: ...
    @property
    def this_update(self) -> int: ...
    @property
    def next_update(self) -> int: ...
    @property
    def produced_at(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def as_of_microseconds(self) -> int: ...
    @property
    def variants(self) -> tuple[int, ...]: ...
    def signature(self, variant: int, /) -> bytes:
        """As it is stored: of ECDSA r and s; of an answer made elsewhere 16 octets of its SHA-256, and its DER.

        Raises:
            KeyError: no such variant.
        """

    @property
    def single_extensions(self) -> bytes: ...

def decode_records(encoded: bytes, /) -> Records:
    """Read what `Records.encoded` gave.

    Raises:
        ValueError: an unknown format or damaged: a miss for the caller, never a guess.
    """

def tombstone(
    issuer_tag: bytes,
    serial: bytes,
    cert_status: int,
    epoch: int,
    number: int,
    as_of_microseconds: int,
    next_update: int,
    /,
) -> Records:
    """Records without a variant, which bury everything of a lower `(version, as_of)`."""

@final
class CRLBuilder:
    """Collects the entries of one CRL in encoded form, in the order they are added, then signs it and reads it back."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add(self, serial: bytes, revocation_time: int, reason: int = -1, invalidity_date: int = -1, /) -> None:
        """Add one revokedCertificates entry.

        Args:
            reason: CRLReason, or -1; 0 (unspecified) is left out as -1 is (RFC 5280 §5.3.1).
            invalidity_date: or -1 (RFC 5280 §5.3.2; always GeneralizedTime).
        """
    def extend(self, rows: Iterable[Sequence[Any]], /) -> None:
        """`add` for each row of `(serial, revocation_time, reason, invalidity_date)`; those before a bad one stay."""
    def check(self, crl: bytes, key: PublicKey, previous: bytes | None = None, /) -> list[bytes]:
        """Read a CRL back: its signature, and entry by entry that it says what was added. Releases the GIL.

        Returns:
            The serials that the CRL `previous` (DER) lists and this one doesn't, in ascending order of their octets.

        Raises:
            ValueError: not a CRL, another's signature, or another entry than was added at its place.
        """
    def rows(self, positions: Iterable[int], /) -> list[tuple[bytes, int, int, int]]:
        """What was added at these ascending positions, as for `extend`; an unspecified reason is -1."""
    def sign(
        self,
        key: PrivateKey,
        issuer_name: bytes,
        authority_key_identifier: bytes,
        crl_number: int,
        this_update: int,
        next_update: int,
        extensions: bytes = b"",
        signature_algorithm: bytes | None = None,
        /,
    ) -> bytes:
        """The DER CertificateList v2. Releases the GIL while signing.

        Args:
            issuer_name: DER Name, byte for byte the CA's subject.
            authority_key_identifier: the key identifier's octets (RFC 5280 §5.2.1).
            crl_number: 0 < n < 2^159 (RFC 5280 §5.2.3).
            extensions: further DER Extension values, one after the other.

        Source: RFC 5280 §5.1, §5.2; times are UTCTime through 2049, GeneralizedTime from 2050 (§5.1.2.4).
        """

def crl_excerpt(crl: bytes, positions: Iterable[int], /) -> tuple[bytes, bytes]:
    """The issuer's name, and the same CRL (DER) with no name and with the entries at these ascending positions alone;
    its signature is no longer of it.

    For other parsers, to which a million entries are a burden, and which judge what a name holds.

    Raises:
        ValueError: not a CRL.
        IndexError: it has no such entry.
    """

@final
class CopiedStatuses:
    """Statuses of one issuer from one statement, as PostgreSQL's COPY … TO STDOUT (FORMAT binary) has written them.
    Immutable.

    The columns: partition, epoch, as_of, serial, number, revoked_at (NULL where it isn't revoked), reason,
    invalidity_date, not_before, not_after, certificate_sha256.

    Source: PostgreSQL's documentation, COPY, "Binary Format".
    """

    epoch: Final[int]
    as_of_microseconds: Final[int]
    """Since 1970; as `epoch` the same for all of them, and 0 where there are none."""
    last: Final[tuple[int, bytes] | None]
    """Partition and serial of the last one."""

    def __new__(cls, copied: bytes, /) -> Self:
        """Read what was copied.

        Raises:
            ValueError: that isn't what stands there.
        """
    def __len__(self) -> int: ...
    def __getitem__(
        self, index: int, /
    ) -> tuple[bytes, int, int | None, int | None, int | None, int | None, int | None, bytes | None]:
        """Serial, number, revoked_at, reason, invalidity_date, not_before, not_after, certificate_sha256; times in
        microseconds since 1970; None for NULL."""
    def names(self, issuer_tag: bytes, /) -> list[bytes]:
        """Issuer's tag and serial of each."""
    def sizes(self) -> dict[int, int]:
        """How many are in which partition."""

def packed_command(arguments: list[bytes], /) -> bytes:
    """A command as Redis and Valkey read it: an array of bulk strings (RESP2).

    Raises:
        TypeError: an argument isn't bytes.
    """

# --- shared memory

@final
class Floors:
    """For each status that changed lately, the lowest version that may still be answered (design §4.3). In memory that
    the processes of a host share: one writes, all read. `tag` is an issuer's."""

    def __new__(cls, memory: memoryview, /) -> Floors:
        """Use what `lay_out` has prepared.

        Raises:
            ValueError: it hasn't.
        """

    @staticmethod
    def lay_out(memory: memoryview, key: bytes, /) -> None:
        """Prepare memory, for as many floors as it has room for after a page, of 32 octets each. `key` is 96 random
        octets.

        Raises:
            ValueError: room for fewer than 64, or a key of another length.
        """

    def raise_to(self, tag: bytes, serial: bytes, epoch: int, number: int, until: int, now: int, as_of: int, /) -> bool:
        """Nothing of this certificate below (epoch, number) may be answered, until `until` at least (seconds since
        1970, as `now`). A floor that is higher stays.

        Returns:
            False: there was no room, and the issuer's floor was raised to `as_of` (microseconds since 1970) instead.
        """

    def raise_issuer(self, tag: bytes, as_of: int, until: int, now: int, /) -> None:
        """Nothing of this issuer that was read before `as_of` may be answered."""

    def raise_all(self, as_of: int, /) -> None:
        """Nothing that was read before `as_of` may be answered."""

    def is_below(self, tag: bytes, serial: bytes, epoch: int, number: int, as_of: int, /) -> bool:
        """Whether this version of a certificate's status may no longer be answered; when in doubt, True."""

    def settle(self) -> int:
        """Free what a writer left half-written when it was killed, once everything has been raised again by its
        successor; how many there were."""

    @property
    def taken(self) -> int:
        """How many places have ever been used."""

    @property
    def places(self) -> int:
        """How many there are."""

@final
class Table:
    """Records in memory that the processes of a host share, found by issuer's tag and serial. A cache: what doesn't fit
    is given up, what hasn't been used lately first. Serials of more than 64 octets and records of more than 3,930 have
    no place. It never goes back to an older record while one is there, and takes none that is below its floor."""

    def __new__(cls, memory: memoryview, floors: Floors, /, *, owner: int) -> Table:
        """Use what `lay_out` has prepared. `owner` tells the processes apart: no two that live have the same.

        Raises:
            ValueError: the memory holds no table.
        """

    @staticmethod
    def lay_out(memory: memoryview, key: bytes, /) -> None:
        """Prepare memory of zeros: a page, and then sets of 4,096 octets. `key` is 96 random octets.

        Raises:
            ValueError: no room for one set, or a key of another length.
        """

    def get(self, tag: bytes, serial: bytes, /) -> Records | None:
        """What is kept of a certificate. Never waits: a record that is being replaced at this moment is a miss."""

    def put(self, tag: bytes, serial: bytes, records: Records, now: int, /) -> Records | None:
        """Keep `records` unless later ones are kept, by the rule of `RecordStore.put`; returns what is kept then. `now`
        is in microseconds since 1970. None: they are below their floor or too long, or others kept the place busy."""

    def fill(self, keys: Iterable[bytes], values: Iterable[bytes | None], now: int, /) -> int:
        """`put` for each of many as a store gave them; a key is the issuer's tag and the serial. What isn't a living
        record of its key is left out. Returns how many are kept now that weren't."""

    def drop(self, tag: bytes, serial: bytes, /) -> bool:
        """Take out the records of a certificate if they are below their floor. False: others kept the place busy, and
        it must be asked again."""

    def sweep(self, owner: int, /) -> int:
        """Give back the sets that a process kept when it was killed; what was half-written is emptied. To be called
        when it is dead, and before another has its number. Returns how many sets there were."""

    def usage(self, looked_at: int = 0, /) -> tuple[int, int, int]:
        """How many records there are, how many octets they take, and how many there are room for: in all of its sets,
        or in about so many, evenly spread. What is looked at takes memory, though it was never used."""

@final
class LiveKeys:
    """Keys that sign for one request: in the turn that reads it, or, the slow ones, in threads of the lane's."""

    def __new__(
        cls,
        signers: Iterable[tuple[SigningProfile, PrivateKey, int, int, bool]] = (),
        /,
        *,
        bounds: Sequence[float] = (),
    ) -> LiveKeys:
        """Each with the words of a lane that count its signatures and how long they take: a counter, and a histogram's
        first bucket, of ten `bounds` in seconds; and whether it is slow.

        Raises:
            ValueError: a key that doesn't sign as its profile says.
        """

@final
class Issued:
    """Which certificates were issued at all: what was added is always found, and of the rest one in so many."""

    def __new__(cls, memory: memoryview, /) -> Issued:
        """Of memory that was laid out.

        Raises:
            ValueError: it wasn't.
        """

    @staticmethod
    def lay_out(memory: memoryview, key: bytes, /) -> None:
        """Begin with nothing. `key` has 96 octets that nobody else knows.

        Raises:
            ValueError: too little memory, or a key of another size.
        """

    def add(self, names: Iterable[bytes], /) -> None:
        """Issuers' tags, each with a serial behind it. One process alone may add.

        Raises:
            ValueError: a name is too short.
        """

    def has(self, tag: bytes, serial: bytes, /) -> bool:
        """Whether it may have been added; False: it wasn't.

        Raises:
            ValueError: no issuer's tag.
        """

    @property
    def false_positives(self) -> float:
        """How much of the rest is found, too, by a sample: 0 to 1."""

@final
class Responder:
    """Answers what is plain from the table, with the HTTP head: one process's."""

    def __new__(
        cls,
        table: Table,
        host: memoryview,
        lane: memoryview,
        /,
        *,
        words: Mapping[str, Any],
        issued: Issued | None = None,
        headers: bytes = b"",
    ) -> Responder:
        """`host` and `lane` are words of the segment. `words` says where in them: `trusted_until` and `database_clock`
        (nanoseconds since 1970 by the database, less CLOCK_BOOTTIME; 0 where it isn't known) and `issued_until`
        (CLOCK_BOOTTIME: so long what `issued` doesn't have is refused, unless the table has it) in `host`; in `lane`
        the counters `requests` (GET and POST, each with good, revoked, unknown), `unauthorized` (GET and POST),
        `hashes` (unknown, then SHA-1 to SHA-512), `answers`, `live`, `unmet`, `nonces`, `signed`,
        `never_issued` and `ages`, the first bucket of a histogram with ten `bounds`. `headers` are what every response
        has besides: lines, each after its CR LF."""

    def replace(self, issuers: Iterable[bytes], profiles: Iterable[SigningProfile], live: LiveKeys, /) -> None:
        """Answer for exactly these from now on, and sign what needs a signature with `live`; issuers as `pack_issuer`
        gives them."""

    def respond(self, request: bytes, is_post: bool, now: int, /, *, signs: bool = False) -> bytes | None:
        """The whole HTTP/1.1 response to a DER request, at `now` (nanoseconds since 1970): from the table, or
        `unauthorized` where the issuer isn't ours, or never issued it. None where the chain must be asked: nothing in
        the table, or not plain; and, unless it `signs`, where a signature is needed."""

def pack_issuer(row: IssuerRow, /) -> bytes:
    """An issuer as `Responder.replace` takes it: to be kept, since of many issuers few change.

    Raises:
        ValueError: a hash of an impossible length, or a variant that isn't ours.
    """

def find_request(path: bytes, /) -> bytes | None:
    """The DER request that a raw path carries; see `responder.web.get_path.find_request`."""

def read_request(octets: bytes, /) -> tuple[str, RequestHead | None]:
    """The head of the HTTP/1.x request that a stream begins with: "whole" with what it says, "part" when more is to
    come, "refused" for what no or not every parser of RFC 9112 reads so, or "too long" (16 KiB)."""

@final
class Framing:
    """Judges the framing of a connection's requests before another parser sees them: two that read it differently are
    how requests are smuggled (RFC 9112 §11.2)."""

    def __new__(cls) -> Framing:
        """Of a connection that has just begun."""

    @property
    def refused(self) -> int:
        """The status to refuse with, 400 or 431, once something was wrong; else 0."""

    @property
    def outstanding(self) -> int:
        """0 when nothing of a request has begun that isn't whole; else a number that is another for each head and each
        body."""

    def feed(self, octets: bytes, /) -> bytes:
        """What may be passed on now that these octets have come: whole heads, what is there of bodies. Nothing more
        once something was wrong."""

@final
class Page:
    """A whole body under a fixed path."""

    def __new__(
        cls,
        path: bytes,
        body: bytes,
        media_type: bytes,
        /,
        *,
        etag: bytes = b"",
        this_update: int = 0,
        next_update: int = 0,
        fresh_until: int = 0,
        max_age: int = 0,
    ) -> Page:
        """`etag` is what goes between the quotes; with one, caches are told what `web.caching.cache_headers` says, and
        the page is there until `next_update`. Times in seconds since 1970, `max_age` in seconds.

        Raises:
            ValueError: a path of more than 128 octets, or an ETag of more than 64.
        """

    @property
    def body(self) -> bytes:
        """As it was given."""

@final
class Pages:
    """Those that a lane shows to GET and HEAD."""

    def __new__(cls) -> Pages:
        """None."""

    def replace(self, pages: Iterable[Page], /) -> None:
        """Show exactly these from now on."""

@final
class Seal:
    """Seals on what is kept where others may write: HMAC-SHA-256 over name and value, 16 octets of it at the end. Not
    for several threads at once."""

    def __new__(cls, key: bytes, /) -> Seal:
        """Raises:
        ValueError: the key has less than 32 octets.
        """

    def close(self, name: bytes, value: bytes, /) -> bytes:
        """The value with its seal."""

    def open(self, name: bytes, sealed: bytes, /) -> bytes | None:
        """The value; None where it isn't as it was sealed, under this name."""

@final
class Networks:
    """IP networks: an address is in one of them or not."""

    def __new__(cls, networks: Iterable[tuple[bytes, int]], /) -> Networks:
        """Each the octets of an address, 4 or 16, and how many bits of it count.

        Raises:
            ValueError: that is no network.
        """

    def __contains__(self, address: str, /) -> bool: ...

@final
class Limiter:
    """What each client may cost a minute, for all processes of a host: GCRA, one word a client."""

    def __new__(cls, memory: memoryview, /, *, per_minute: int) -> Limiter:
        """Of memory that was laid out. An IPv6 /64 counts as one client, and a /48 may cost 16 times as much.

        Raises:
            ValueError: it wasn't laid out, or for another size; or `per_minute` isn't positive.
        """

    @staticmethod
    def lay_out(memory: memoryview, key: bytes, /) -> None:
        """Begin with nobody owing anything. `key` has 96 octets that nobody else knows.

        Raises:
            ValueError: too little memory, or a key of another size.
        """

    def take(self, address: str, price: int, now: int, /) -> int:
        """Take a price from what a client may cost: 0, or how many nanoseconds it is too early for it; then nothing is
        taken. `now` is CLOCK_MONOTONIC in nanoseconds.

        Raises:
            ValueError: no IP address.
        """

@final
class Gate:
    """Between the table and all that costs more: limits by client, and how much may be under way for all of them."""

    def __new__(
        cls,
        lane: memoryview,
        /,
        *,
        words: Mapping[str, Any],
        limiter: Limiter | None = None,
        exempt: Networks,
        trusted: Networks,
        refusal: int,
        room: int,
        signatures: int,
        counts_hits: bool,
    ) -> Gate:
        """`words` are the counters in `lane`: `rate_limited` and `overloaded` (GET and POST each), `limited`,
        `malformed`, `too_long`, and of connections `slow`, `too_many`, `crowded`, `unannounced`. Without `limiter`
        nobody is limited, nor are the `exempt`; for a `trusted` proxy the client is whom X-Forwarded-For names last.
        `refusal` is an OCSPResponseStatus, or 429 of HTTP; `room` is how many answers may be under way in the chain,
        `signatures` how many may wait in the lane to be made; `counts_hits` whether what the table has costs
        something, too."""

    def charge(self, peer: str, head: bytes, price: int, now: int, /) -> int:
        """As `Limiter.take`, of the client that a request's head from `peer` is of; 0 where nobody is limited."""

@final
class Lane:
    """The connections of a process on one listening socket: plain requests are answered from the table, in turns
    without the GIL."""

    def __new__(
        cls,
        listener: int,
        *,
        responder: Responder,
        pages: Pages,
        gate: Gate,
        announced: Networks,
        ask: Callable[[list[tuple[int, bytes, bool, bool]]], object],
        fetch: Callable[[list[tuple[int, bytes]]], object] | None,
        hand_over: Callable[[int, bytes], object],
        connections: int,
        connections_a_client: int,
        idle_seconds: float,
        request_seconds: float,
        signing_threads: int = 1,
        signing_seconds: float = 0.5,
    ) -> Lane:
        """`ask` is called with tokens, whole HTTP requests to GET, HEAD or POST, whether the connection ends with it,
        and whether `fetch` was called for it; each is answered by `reply`, and nothing more is read of a connection
        before. `fetch` is called before that with tokens and the names (issuer's tag and serial) of certificates that
        the table doesn't have; once it has what there is, `resume` goes on. `hand_over` is called with a connection's
        descriptor, which is the callee's, and what has come on it. What `gate` doesn't let pass is refused
        here. Connections from `announced` begin with whose they are, by the PROXY protocol, or are closed. At most so
        many connections at once, and of one client (but for proxies and the exempt, as `gate` has them); where there is
        no room the one that is idle for longest makes it. Closed is one that is idle for so long, one whose head, or
        then body, takes longer than `request_seconds` to come, and one that takes less than 64 KiB of an answer in
        `idle_seconds`. So many threads, of a lower priority, sign with keys that are slow,
        where that hasn't waited for `signing_seconds`.

        Raises:
            OSError: there are no descriptors left.
        """

    @property
    def epoll(self) -> int:
        """The descriptor that is readable when `on_ready` has something to do."""

    @property
    def open_connections(self) -> int:
        """How many there are."""

    def on_ready(self) -> None:
        """Take what has come, and answer it."""

    def breathe(self) -> None:
        """The same, where that was half a millisecond ago: to be called where much is to be done besides."""

    def expire(self) -> None:
        """Close what has been idle for too long. To be called about once a second."""

    def reply(self, token: int, head: bytes, body: bytes, closes: bool, /) -> None:
        """Send the HTTP response to a question, and go on with its connection, or close it. A large body is held while
        it is being sent, and not copied. A connection that has gone is no error.

        Raises:
            ValueError: the head is longer than 16,384 octets.
        """

    def resume(self, tokens: list[int], made: list[bool], /) -> None:
        """Answer what was waiting for `fetch`: from the table, or by `ask`; `made` says of which the records were
        signed for it."""

    def stop(self) -> None:
        """Accept nothing more, and close all connections on which nothing is under way."""

    def drain(self) -> None:
        """Accept those that have come, and nothing more; the next answer on each connection is its last, and `expire`
        closes those that have nothing to ask for a second."""

    def close(self) -> None:
        """Close all."""

def proxy_header(said: bytes, /) -> tuple[int, bytes] | None:
    """The PROXY header that a connection from a load balancer begins with: its length, and the client's address as IPv6
    (IPv4 mapped into it), or nothing where it speaks for itself. None: more has to come.

    Raises:
        ValueError: it is something else.
    """
