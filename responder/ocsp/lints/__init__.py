"""Rules for OCSP responses, ours or anybody's: one rule, one citation, one test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from responder.ocsp.lints import c2pa as c2pa  # its rules are listed as it is imported
from responder.ocsp.lints.reading import Response, read
from responder.ocsp.lints.rules import PROFILES, RULES, Rule

__all__ = ["PROFILES", "RULES", "Finding", "lint"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: the rule's requirement and source, and a sentence."""

    id: str
    source: str
    says: str


def lint(octets: bytes, *, profile: str = "rfc") -> list[Finding]:
    """Look at an OCSPResponse (DER) by all rules of a profile; an error response is one, too.

    Args:
        profile: one of `PROFILES`; the rules of `rfc` are part of each.
    """
    try:
        response = read(octets)
    except ValueError as error:
        return [Finding("6960-15", "RFC 6960 §4.2.1", f"no OCSPResponse: {error}")]
    rules = [rule for rule in RULES if rule.profile in ("rfc", profile)]
    return [Finding(rule.id, rule.source, fault) for rule in rules for fault in _faults(rule, response)]


def _faults(rule: Rule, response: Response) -> Iterator[str]:
    try:
        yield from rule.look(response)
    except ValueError as error:
        yield f"what it is about can't be read: {error}"
