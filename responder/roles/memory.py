"""The shared memory of a host: its table of records, their floors, and until when they may be believed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from responder import metrics
from responder.config import Config, Network
from responder.host.deadline import DatabaseClock, Deadline
from responder.host.segment import ISSUED_UNTIL, WARMED, Lane, Region, Segment
from responder.pki import (
    Floors,
    Gate,
    Issued,
    Issuer,
    IssuerRow,
    Limiter,
    LiveKeys,
    Networks,
    NoncePolicy,
    Responder,
    Snapshot,
    Table,
    UnknownSerial,
    pack_issuer,
)
from responder.signing.answers import signs_at_once
from responder.signing.signers import Signer
from responder.web.cors import lines

_KEY_OCTETS = 96

_LIMITER_OCTETS = 1 << 21
"""A quarter of a million clients within a minute."""

_REFUSALS = {"try_later": 3, "unauthorized": 6, "http_429": 429}

_SAMPLED_SETS = 256
"""Of the table, for how full it is: a megabyte."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What one process sees of it."""

    table: Table
    floors: Floors
    deadline: Deadline
    database_clock: DatabaseClock
    issued: Issued | None
    issued_until: Deadline
    identity: str
    segment: Segment
    lane: Lane
    place: int

    def is_to_be_warmed(self) -> bool:
        """Whether this process is the one to fill the table, and nobody has yet."""
        return self.place == 0 and not self.segment.host[WARMED]

    def is_warm(self) -> None:
        """Say that the table was filled."""
        self.segment.host[WARMED] = 1

    def responder(self, *, cors: bool = False) -> Responder:
        """The native way to the table, which counts in this process's lane."""
        return Responder(
            self.table,
            self.segment.host,
            self.lane,
            words=metrics.fast_words(),
            issued=self.issued,
            headers=lines() if cors else b"",
        )

    def gate(self, config: Config) -> Gate:
        """What keeps clients from costing too much, together with the other processes of this host."""
        limits, signing = config.limits, config.signing
        buckets = self.segment.region(Region.LIMITER)
        limiter = Limiter(buckets, per_minute=limits.per_minute) if limits.per_minute else None
        return Gate(
            self.lane,
            words=metrics.gate_words(),
            limiter=limiter,
            exempt=networks(limits.exempt),
            trusted=networks(config.serve.trusted_proxies),
            refusal=_REFUSALS[limits.refusal],
            room=signing.max_in_flight + signing.max_waiting,
            signatures=signing.max_waiting,
            counts_hits=limits.count_hits,
        )

    @property
    def lease_seconds_left(self) -> float:
        """How long this host may answer without reaching the database."""
        return self.deadline.seconds_left

    @property
    def floors_taken(self) -> float:
        """How much of the room for floors was ever used: 0 to 1."""
        return self.floors.taken / self.floors.places

    @property
    def table_taken(self) -> float:
        """How full the table is, by a sample of its sets: 0 to 1."""
        _, octets, room = self.table.usage(_SAMPLED_SETS)
        return octets / room

    @property
    def issued_false_positives(self) -> float:
        """How many of the serials that were never issued are looked for all the same: 0 to 1."""
        return 1.0 if self.issued is None else self.issued.false_positives

    @classmethod
    def of(cls, segment: Segment, place: int) -> HostMemory:
        """As the process in this place writes in it."""
        floors = Floors(segment.region(Region.FLOORS))
        table = Table(segment.region(Region.TABLE), floors, owner=place + 1)
        return cls(
            table,
            floors,
            Deadline(segment),
            DatabaseClock(segment),
            _issued(segment),
            Deadline(segment, ISSUED_UNTIL),
            segment.identity,
            segment,
            segment.lane(place),
            place,
        )


def _issued(segment: Segment) -> Issued | None:
    region = segment.region(Region.ISSUED)
    return Issued(region) if len(region) else None


def networks(networks: Sequence[Network]) -> Networks:
    return Networks((network.network_address.packed, network.prefixlen) for network in networks)


class IssuerRows:
    """What the native way knows of issuers, profiles and keys: given anew when something has changed."""

    def __init__(self) -> None:
        self._given = Snapshot()
        self._packed: dict[str, bytes] = {}
        self._live = LiveKeys()

    def give(self, snapshot: Snapshot, responder: Responder) -> None:
        """Have it answer for what the snapshot has."""
        before, self._given = self._given, snapshot
        if (
            snapshot.issuers is before.issuers
            and snapshot.profiles is before.profiles
            and snapshot.signers is before.signers
        ):
            return
        if snapshot.signers is not before.signers:
            self._live = live_keys(snapshot.signers.values())
        if snapshot.issuers is not before.issuers:
            held, known = self._packed, before.issuers
            self._packed = {
                issuer_id: held[issuer_id] if known.get(issuer_id) is issuer else pack_issuer(row_of(issuer))
                for issuer_id, issuer in snapshot.issuers.items()
            }
        responder.replace(self._packed.values(), snapshot.profiles.values(), self._live)


def live_keys(signers: Iterable[Iterable[Signer]]) -> LiveKeys:
    """Those that sign for one request: in the turn that reads it, or in a thread."""
    return LiveKeys(
        (
            (signer.profile, signer.key, *metrics.signature_words(signer.key.name), not signs_at_once(signer.key))
            for each in signers
            for signer in each
            if signer.key.is_local
        ),
        bounds=metrics.SIGN_SECONDS.bounds,
    )


def row_of(issuer: Issuer) -> IssuerRow:
    """What the native way has to know of an issuer."""
    policy = issuer.policy
    return IssuerRow(
        issuer.tag,
        issuer.cert_id_hashes,
        tuple(int(variant) for variant in policy.kept_variants),
        policy.nonce is NoncePolicy.ignore,
        policy.honour_preferred,
        int(policy.refresh.total_seconds()),
        int(policy.max_age.total_seconds()),
        policy.require_signature or policy.nonce is NoncePolicy.required,
        policy.unknown_serial is UnknownSerial.unauthorized and policy.compromised_at is None,
    )


def create_memory(config: Config, processes: int) -> Segment:
    """Make it, for so many processes beside the one that makes it."""
    megabyte = 1 << 20
    segment = Segment.create(
        processes,
        floors=config.table.floor_megabytes * megabyte,
        table=config.table.megabytes * megabyte,
        limiter=_LIMITER_OCTETS,
        issued=config.table.issued_megabytes * megabyte,
    )
    _lay_out(segment)
    return segment


def renew_memory(segment: Segment) -> None:
    """Make all of it anew but the counters, while no other process uses it: another host, as far as anyone can tell."""
    segment.renew()
    _lay_out(segment)


def _lay_out(segment: Segment) -> None:
    Floors.lay_out(segment.region(Region.FLOORS), os.urandom(_KEY_OCTETS))
    Table.lay_out(segment.region(Region.TABLE), os.urandom(_KEY_OCTETS))
    Limiter.lay_out(segment.region(Region.LIMITER), os.urandom(_KEY_OCTETS))
    if len(segment.region(Region.ISSUED)):
        Issued.lay_out(segment.region(Region.ISSUED), os.urandom(_KEY_OCTETS))
