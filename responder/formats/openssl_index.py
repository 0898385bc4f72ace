"""Reads the `index.txt` of `openssl ca` (and easy-rsa): what was issued, what is revoked, since when and why.

The file is what the CA's own CRL is made of, so it is read as `openssl ca -gencrl` reads it, with these differences:

- a bad line, a serial that stands twice, or a last line without its line ending (openssl skips it without a word, and
  the file may have been cut short there) rejects the whole file;
- `removeFromCRL` is revoked, without a reason: the reason belongs into delta CRLs only (RFC 5280 §5.3.1), openssl lists
  the certificate in its full CRL, and a file that meant "released" would have V there;
- `unspecified` is no reason (RFC 5280 §5.3.1: should be absent);
- the object identifier of a hold instruction is dropped (RFC 5280 has no such extension any more).

Source: openssl-ca(1); apps/ca.c (make_revoked, unpack_revinfo) and crypto/txt_db/txt_db.c of OpenSSL 3.0.
"""

from __future__ import annotations

import contextlib
import io
import re
from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from responder.errors import ImportRejected
from responder.pki import MAX_SERIAL_OCTETS, CertificateStatus, CRLReason, ImportedStatus, RevokedInfo, encode_serial
from responder.pki.names import fold

__all__ = ["each", "ends", "line_of", "organizations", "parse", "serial_text"]

_END = 65_536  # octets of a beginning or an end that lines are looked for in

MAX_FAULTS = 100  # more than a person reads; all are counted

# In lower case, for openssl compares without case.
_REASONS: dict[bytes, CRLReason | None] = {
    b"unspecified": None,
    b"keycompromise": CRLReason.keyCompromise,
    b"cacompromise": CRLReason.cACompromise,
    b"affiliationchanged": CRLReason.affiliationChanged,
    b"superseded": CRLReason.superseded,
    b"cessationofoperation": CRLReason.cessationOfOperation,
    b"certificatehold": CRLReason.certificateHold,
    b"removefromcrl": None,
    b"privilegewithdrawn": CRLReason.privilegeWithdrawn,
    b"aacompromise": CRLReason.aACompromise,
}
_COMPROMISE_TIMES = {b"keytime": CRLReason.keyCompromise, b"cakeytime": CRLReason.cACompromise}
_TIMES_OF = {CRLReason.keyCompromise: "keyTime", CRLReason.cACompromise: "CAkeyTime"}
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

# One expression for a whole good line, because a million of them are read.
_LINE = re.compile(rb"(?:[VE]\t([0-9]+Z)\t|R\t([0-9]+Z)\t([0-9]+Z)(,[^\t]*)?)\t(-?[0-9A-Fa-f]{1,512})\t[^\t]*\t[^\n]*")
# UTCTime and GeneralizedTime in the forms that openssl also reads, say in what an operator typed after
# -crl_compromise (X.680 §46, §47).
_TIME = re.compile(rb"([0-9]{10}|[0-9]{12}|[0-9]{14})(?:[.,][0-9]+)?(?:Z|([+-])([0-9]{2})([0-9]{2}))")
# X509_NAME_oneline: each attribute after a slash, octets beyond ASCII as \xHH.
_ORGANIZATION = re.compile(rb"/O=(.*?)(?=/[A-Za-z0-9.]+=|$)")


def parse(data: bytes | Iterable[bytes], *, now: datetime | None = None) -> list[ImportedStatus]:
    """Read a whole index file; see `each`."""
    return list(each(data, now=now))


def each(data: bytes | Iterable[bytes], *, now: datetime | None = None) -> Iterator[ImportedStatus]:
    """Read an index file, for an importer that replaces the statuses of one issuer; one after the other, in order, so
    that a million of them need no room. Whatever came before an error may not be taken either.

    Args:
        data: the file, or its lines with their line endings, as a file opened in binary mode yields them.
        now: no revocation may be later than this, where it is given: the date says when it happened (RFC 5280
            §5.1.2.6), and some clients take a later one for not revoked.

    Yields:
        One status a certificate. `not_before` is never known; the subject isn't looked at.

    Raises:
        ImportRejected: at the end, with every bad line (the first 100 of them).
    """
    lines = data if isinstance(data, bytes) else list(data)
    faults: list[tuple[int, str]] = []
    fault_count = 0
    hashes = array("q")
    line_number = 0
    for line_number, line in _numbered(lines):
        try:
            status = _parse_line(line, line_number)
            if status is None:
                continue
            if now is not None and status.revoked_info is not None and status.revoked_info.revocation_time > now:
                raise ValueError(
                    f"the revocation date {status.revoked_info.revocation_time:%Y-%m-%dT%H:%M:%SZ} is in the future "
                    f"(now is {now:%Y-%m-%dT%H:%M:%SZ}); write the date when it was revoked, and look at both clocks"
                )
            hashes.append(hash(status.serial_number))
        except ValueError as error:
            fault_count += 1
            if len(faults) < MAX_FAULTS:
                faults.append((line_number, f"{error}" if str(error).endswith("?") else f"{error}."))
        else:
            if not fault_count:
                yield status
    twice = _standing_twice(lines, hashes)
    fault_count += len(twice)
    if fault_count:
        bad = "1 bad line" if fault_count == 1 else f"{fault_count:,} bad lines"
        faults = sorted([*faults, *twice[:MAX_FAULTS]])[:MAX_FAULTS]
        raise ImportRejected(f"The index has {bad} of {line_number:,}; nothing of it was taken.", faults)


def _numbered(lines: bytes | list[bytes]) -> Iterator[tuple[int, bytes]]:
    return enumerate(io.BytesIO(lines) if isinstance(lines, bytes) else lines, 1)


def _standing_twice(lines: bytes | list[bytes], hashes: array[int]) -> list[tuple[int, str]]:
    """The lines whose serial stands in an earlier one, and a sentence for each. Of a million serials eight octets each
    are kept, and the file is read once more where two of those are alike."""
    ordered = sorted(hashes)
    alike = {one for one, next_one in pairwise(ordered) if one == next_one}
    found: list[tuple[int, str]] = []
    first_lines: dict[int, int] = {}
    for line_number, line in _numbered(lines) if alike else ():
        try:
            status = _parse_line(line, line_number)
        except ValueError:
            continue
        if status is not None and hash(status.serial_number) in alike:
            first = first_lines.setdefault(status.serial_number, line_number)
            if first != line_number:
                found.append((line_number, f"serial {status.serial_number:X} stands in line {first} already."))
    return found


def ends(data: bytes, count: int) -> tuple[int, ...]:
    """The serial numbers in so many of the first and of the last lines; of those lines that are good."""
    lines = [*data[:_END].splitlines(keepends=True)[:count], *data[-_END:].splitlines(keepends=True)[-count:]]
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            status = _parse_line(line, 0)
            if status is not None:
                found.append(status.serial_number)
    return tuple(dict.fromkeys(found))


def organizations(data: bytes) -> set[str]:
    """The organizations that the subjects of an index name, as `names.fold` makes them comparable; none of them where
    a subject has no organization, or one that isn't plain ASCII, for then they don't tell CAs apart."""
    found: set[bytes] = set()
    for line in io.BytesIO(data):
        if not line.strip() or line.startswith(b"#"):
            continue
        match = _ORGANIZATION.search(line)
        if match is None or b"\\x" in match[1]:
            return set()
        found.add(match[1])
    return {fold(each.decode("ascii", "replace")) for each in found}


def serial_text(serial_number: int) -> str:
    """A serial number as openssl writes it, in an index and as a file's name."""
    digits = f"{abs(serial_number):X}"
    return ("-" if serial_number < 0 else "") + digits.rjust(len(digits) + len(digits) % 2, "0")


def line_of(status: CertificateStatus) -> str:
    """The line of an index, without its line ending, that `parse` and openssl read as this status; the subject is
    unknown here. An end that isn't known is that of RFC 5280 §4.1.2.5 for none."""
    info, not_after = status.revoked_info, status.not_after or _NO_END
    serial = serial_text(status.certificate.serial_number)
    revocation = "" if info is None else _time(info.revocation_time) + _reason(info)
    return f"{'V' if info is None else 'R'}\t{_time(not_after)}\t{revocation}\t{serial}\tunknown\t/CN=unknown"


def _reason(info: RevokedInfo) -> str:
    if info.revocation_reason is None or info.revocation_reason is CRLReason.unspecified:
        return ""
    if info.invalidity_date is not None and info.revocation_reason in _TIMES_OF:
        return f",{_TIMES_OF[info.revocation_reason]},{info.invalidity_date:%Y%m%d%H%M%SZ}"
    return f",{info.revocation_reason.name}"


def _time(moment: datetime) -> str:
    """UTCTime up to 2049, GeneralizedTime from then on, as openssl writes them."""
    text = f"{moment.year:04}{moment:%m%d%H%M%SZ}"
    return text[2:] if 1950 <= moment.year < 2050 else text


def _parse_line(line: bytes, line_number: int) -> ImportedStatus | None:
    """The status that a line tells, or None for a blank line or a comment.

    Raises:
        ValueError: what is wrong with it, as a sentence without its full stop.
    """
    match = _LINE.match(line)
    if match is None:
        if not line.strip() or line.startswith(b"#"):
            return None
        raise ValueError(_explain(line))
    if not line.endswith(b"\n"):
        raise ValueError("the file ends within this line; it may be cut short: end the line, or copy it again")
    not_after, revoked_not_after, revoked_at, reason, serial = match.groups()
    serial_number = int(serial, 16)
    if len(serial) >= 2 * MAX_SERIAL_OCTETS and len(encode_serial(serial_number)) > MAX_SERIAL_OCTETS:
        raise ValueError(f"the serial has more than {MAX_SERIAL_OCTETS} octets, which no database takes")
    if revoked_at is None:
        return ImportedStatus(serial_number, None, None, _parse_time(not_after), line_number)
    return ImportedStatus(
        serial_number,
        _parse_revocation(revoked_at, reason),
        None,
        _parse_time(revoked_not_after),
        line_number,
    )


def _parse_revocation(revoked_at: bytes, reason: bytes | None) -> RevokedInfo:
    """`date[,reason[,argument]]`; `reason` begins with its comma."""
    revocation_time = _since_1970("revocation date", revoked_at, _parse_time(revoked_at))
    if reason is None:
        return RevokedInfo(revocation_time)
    name, _, argument = reason[1:].partition(b",")
    lower = name.lower()
    if lower in _REASONS:
        return RevokedInfo(revocation_time, _REASONS[lower])
    if lower == b"holdinstruction":
        if not argument:
            raise ValueError("holdInstruction is without its instruction")
        return RevokedInfo(revocation_time, CRLReason.certificateHold)
    if lower in _COMPROMISE_TIMES:
        if not argument:
            raise ValueError(f"{_show(name)} is without its time")
        compromised_at = _since_1970("time of compromise", argument, _parse_time(argument, is_generalized=True))
        return RevokedInfo(revocation_time, _COMPROMISE_TIMES[lower], compromised_at)
    raise ValueError(f"the reason {_show(name)} isn't one that openssl knows")


def _since_1970(name: str, text: bytes, moment: datetime) -> datetime:
    if moment.year < 1970:
        raise ValueError(
            f"the {name} {_show(text)} is in {moment.year}, before 1970, which no record can hold; two-digit years "
            "from 50 on are 19xx: write it with four digits, YYYYMMDDHHMMSSZ, if another century is meant"
        )
    return moment


def _parse_time(text: bytes, *, is_generalized: bool = False) -> datetime:
    """Any time that an index may hold, in UTC and whole seconds.

    Two-digit years below 50 are 20xx, the others 19xx (RFC 5280 §4.1.2.5.1).
    """
    try:
        if len(text) == 13 and text[12] == 90 and not is_generalized:
            century = "20" if text < b"5" else "19"
            return datetime.fromisoformat(f"{century}{text[:6].decode()}T{text[6:].decode()}")
        if len(text) == 15 and text[14] == 90 and text[:14].isdigit():
            return datetime.fromisoformat(f"{text[:8].decode()}T{text[8:].decode()}")
        return _parse_odd_time(text, is_generalized=is_generalized)
    except (ValueError, OverflowError):
        raise ValueError(f"{_show(text)} isn't a time; it is written YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ") from None


def _parse_odd_time(text: bytes, *, is_generalized: bool) -> datetime:
    """Times without seconds, with a fraction of a second (dropped), or with an offset from UTC."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    digits, sign, hours, minutes = match.groups()
    if is_generalized and len(digits) == 10:
        raise ValueError
    # Twelve digits are YYMMDDHHMMSS in a UTCTime, YYYYMMDDHHMM in a GeneralizedTime.
    if not is_generalized and len(digits) < 14:
        digits = (b"20" if digits < b"5" else b"19") + digits
    moment = datetime.strptime(digits.ljust(14, b"0").decode() + "+0000", "%Y%m%d%H%M%S%z")
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        moment -= offset if sign == b"+" else -offset
    return moment


def _explain(line: bytes) -> str:
    """Why a line doesn't match, by the first field that is wrong."""
    fields = line.rstrip(b"\r\n").split(b"\t", 5)
    if len(fields) < 6:
        tabs = len(fields) - 1
        return f"it has {tabs} TAB{'' if tabs == 1 else 's'} instead of 5 before its subject; is this an index.txt?"
    status, not_after, revocation, serial, _, _ = fields
    if status not in (b"V", b"R", b"E"):
        return f"the status {_show(status)} isn't V, R or E"
    if not re.fullmatch(rb"[0-9]+Z", not_after):
        return f"the expiry {_show(not_after)} isn't a time; it is written YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ"
    if status != b"R" and revocation:
        return f"the status is {_show(status)}, yet there is the revocation {_show(revocation)}"
    if status == b"R" and not revocation:
        return "the status is R, yet there is no revocation date"
    if status == b"R" and not re.match(rb"[0-9]+Z(,|$)", revocation):
        return f"the revocation {_show(revocation)} doesn't begin with a time, written YYMMDDHHMMSSZ"
    if len(serial) > 2 * MAX_SERIAL_OCTETS:
        return f"the serial has {len(serial)} digits, at most {2 * MAX_SERIAL_OCTETS} are taken"
    return f"the serial {_show(serial)} isn't a hexadecimal number"


def _show(text: bytes) -> str:
    """What the file says, printable and short, for a sentence."""
    shown = text[:60].decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
    return f'"{shown}{"..." if len(text) > 60 else ""}"'
