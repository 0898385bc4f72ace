"""What signing everything of an issuer costs, before it is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from responder.interfaces import PartitionStore, RecordSigner
from responder.operations.capacity import IN_STORE
from responder.pki import Issuer

SAMPLE = 200
"""So many certificates are signed to see how long one takes; what is made of them isn't kept."""


@dataclass(frozen=True, slots=True)
class SigningCost:
    """Of all certificates of an issuer, or of some of its slices.

    Attributes:
        core_seconds: of one core, for the signatures; None where there is nothing to measure with.
        store_octets: in the record store, by how large the sample's records are.
    """

    issuer_id: str
    certificates: int
    signatures: int
    core_seconds: float | None
    store_octets: int | None


async def signing_cost(
    issuer: Issuer, sizes: dict[int, int], *, partitions: PartitionStore, signer: RecordSigner
) -> SigningCost:
    """By a sample that is signed now.

    Args:
        sizes: how many certificates are in which slices.

    Raises:
        IssuerUnavailable: nobody here signs for this issuer.
        SigningFailed: the key doesn't sign.
        StatusUnavailable: the database can't be read.
    """
    count = sum(sizes.values())
    signatures = count * len(issuer.policy.variants)
    seconds, octets, sampled = 0.0, 0, 0
    async for statuses, _ in partitions.statuses(issuer, sampled_slices(sizes), chunk=SAMPLE):
        started = time.process_time()
        records = await signer.sign(statuses)
        seconds += time.process_time() - started
        octets += sum(len(each.encoded) + IN_STORE for each in records)
        sampled += len(records)
        break
    if not sampled:
        return SigningCost(issuer.id, count, signatures, None, None)
    return SigningCost(issuer.id, count, signatures, count * seconds / sampled, round(count * octets / sampled))


def sampled_slices(sizes: dict[int, int]) -> Sequence[int]:
    """The first slices that have a sample together, without a gap: so they are read at once."""
    if not sizes:
        return []
    first = last = min(sizes)
    count = 0
    for last in sorted(sizes):
        count += sizes[last]
        if count >= SAMPLE:
            break
    return range(first, last + 1)
