"""What can go wrong, by what the client is told. Foreign exceptions become these in the module that meets them."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Self


class Remedy(Enum):
    """What helps, where each face has its own word for it: an option of the command line, a field of the API."""

    TAKE_ALL_THE_SAME = "take the list although it looks like another CA's"
    RETIRE_THE_LAST = "retire it although no other signer is left"
    REFUSE_ANSWERS = "refuse what it has signed, too"
    GIVE_CRL_NUMBER = "give the number of the last CRL alone"
    CHOOSE_STATE_FOLDER = "keep the state in another folder"


class CertstatusError(Exception):
    """The root of all of ours. The message is a sentence that names the value and, where there is one, the remedy;
    `remedy` is for those that the faces spell."""

    remedy: Remedy | None = None

    def offering(self, remedy: Remedy) -> Self:
        """The same error, with what helps."""
        self.remedy = remedy
        return self


class ResponderError(CertstatusError):
    """An OCSP request that gets an error answer: `ocsp_status` on the wire, `label` in metrics.

    Source: RFC 6960 §4.2.1 (OCSPResponseStatus).
    """

    ocsp_status: ClassVar[int] = 2
    label: ClassVar[str] = "internal_error"
    retry_after: ClassVar[int | None] = None
    """Seconds after which asking again may help."""


class MalformedRequest(ResponderError):
    """The request is not one we read: not DER, over a limit, or a form the standard forbids."""

    ocsp_status = 1
    label = "malformed"


class NonceMalformed(MalformedRequest):
    """A nonce that isn't 1 to 128 octets long. Source: RFC 9654 §2.1."""

    label = "nonce_malformed"


class SigningFailed(ResponderError):
    """libcrypto refused to sign, or the result did not check."""

    label = "signing_failed"


class Overloaded(ResponderError):
    """The budget for costly work is spent; asking again later helps."""

    ocsp_status = 3
    label = "overloaded"
    retry_after = 1


class RateLimited(ResponderError):
    """This client has asked for more than it may; asking again later helps."""

    ocsp_status = 3
    label = "rate_limited"


class StatusUnavailable(ResponderError):
    """The authority can't be read now (database away, clocks apart, no signer): tryLater, never unauthorized."""

    ocsp_status = 3
    label = "status_unavailable"
    retry_after = 5


class IssuerUnavailable(StatusUnavailable):
    """One issuer can't be answered for here: no signer, or none that is valid. The others can."""


class SignatureRequired(ResponderError):
    """This issuer answers signed requests only. Source: RFC 6960 §2.3 (sigRequired)."""

    ocsp_status = 5
    label = "sig_required"


class NotAuthoritative(ResponderError):
    """Not one of our issuers, a serial we have no record of, or a client that may not ask.

    Source: RFC 6960 §2.3, RFC 9919 §3.2.3.
    """

    ocsp_status = 6
    label = "unauthorized"


class StoreUnavailable(CertstatusError):
    """A store did not confirm in time. A cache's failure is a miss; the authority's becomes `StatusUnavailable`."""


class StoreUnreachable(StoreUnavailable):
    """A store didn't answer at all: no connection, or nothing in time."""


class CRLError(CertstatusError):
    """A CRL that must not be published. The one published before stays."""


class ConfigError(CertstatusError):
    """The configuration, or something it points to, can't be used. `faults` holds every fault, a sentence each."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class KeyIsEncrypted(ValueError):
    """A private key that needs a passphrase, which nobody is asked for."""


class ImportRejected(CertstatusError):
    """A status list with bad lines; nothing of it was taken. `faults` holds `(line number, sentence)`."""

    def __init__(self, message: str, faults: list[tuple[int, str]]) -> None:
        self.faults = faults
        super().__init__(message)


class ImportRefused(CertstatusError):
    """A whole list that isn't taken, or an import that can't be taken back; nothing was changed."""


class RevocationRefused(CertstatusError):
    """A change of status that isn't made. `http_status` is 404 (no such certificate), 409 (conflict) or 422 (value)."""

    def __init__(self, http_status: int, title: str, detail: str) -> None:
        self.http_status = http_status
        self.title = title
        self.detail = detail
        super().__init__(detail)
