"""What the core is given to sign, a row at a time."""

from typing import NamedTuple


class StatusRow(NamedTuple):
    """A status to sign as records.

    `cert_status` 0 good, 1 revoked, 2 unknown; `revocation_time` and `reason` -1 for none; `single_extensions` DER
    Extension values one after the other, or empty.
    """

    serial: bytes
    cert_status: int
    revocation_time: int
    reason: int
    this_update: int
    next_update: int
    epoch: int
    number: int
    as_of_microseconds: int
    single_extensions: bytes


class SingleRow(NamedTuple):
    """A SingleResponse to sign; its fields as in `StatusRow`."""

    variant: int
    serial: bytes
    cert_status: int
    revocation_time: int
    reason: int
    this_update: int
    next_update: int
    single_extensions: bytes
