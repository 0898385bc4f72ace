"""The field's nouns, spelled as in the RFCs, and the rules that need nothing else."""

from __future__ import annotations

from responder._native import (
    CRLBuilder,
    Floors,
    PublicKey,
    Records,
    SigningProfile,
    Table,
    crl_excerpt,
    decode_records,
    load_profile,
    load_public_key,
)
from responder.pki.answer import Answer, ResponderCertificate, ResponseTimes, refresh_due, response_times
from responder.pki.crl import CRL, CRLHead
from responder.pki.issuer import Issuer, IssuerPolicy, make_issuer
from responder.pki.issuers import Issuers
from responder.pki.numbers import (
    EPOCH,
    MAX_CRL_NUMBER,
    MAX_SERIAL_OCTETS,
    decode_serial,
    encode_serial,
    epoch_microseconds,
    epoch_seconds,
    from_epoch_seconds,
)
from responder.pki.question import Question
from responder.pki.request import CertID, OCSPRequest, RequestSignature, parse_ocsp_request
from responder.pki.snapshot import Current, Snapshot
from responder.pki.status import Certificate, CertificateStatus, RevokedInfo, StatusVersion, tombstone_for
from responder.pki.stored import (
    AnnouncedChange,
    Changes,
    ImportedStatus,
    IssuedCertificate,
    Kept,
    Pending,
    ReportedTrouble,
    RevokedSnapshot,
    StatusChange,
    StoreRun,
    Unaware,
)
from responder.pki.terms import HASH_NAMES, CertIDVariant, CertStatus, CRLReason, NoncePolicy, UnknownSerial

__all__ = [
    "AnnouncedChange",
    "Answer",
    "CRL",
    "CRLBuilder",
    "CRLHead",
    "CRLReason",
    "CertID",
    "CertIDVariant",
    "CertStatus",
    "Certificate",
    "CertificateStatus",
    "Changes",
    "Current",
    "EPOCH",
    "Floors",
    "HASH_NAMES",
    "ImportedStatus",
    "IssuedCertificate",
    "Issuer",
    "IssuerPolicy",
    "Issuers",
    "Kept",
    "MAX_CRL_NUMBER",
    "MAX_SERIAL_OCTETS",
    "NoncePolicy",
    "OCSPRequest",
    "Pending",
    "PublicKey",
    "Question",
    "Records",
    "ReportedTrouble",
    "RequestSignature",
    "ResponderCertificate",
    "ResponseTimes",
    "RevokedInfo",
    "RevokedSnapshot",
    "SigningProfile",
    "Snapshot",
    "StatusChange",
    "StatusVersion",
    "StoreRun",
    "Table",
    "Unaware",
    "UnknownSerial",
    "crl_excerpt",
    "decode_records",
    "decode_serial",
    "encode_serial",
    "epoch_microseconds",
    "epoch_seconds",
    "from_epoch_seconds",
    "load_profile",
    "load_public_key",
    "make_issuer",
    "parse_ocsp_request",
    "refresh_due",
    "response_times",
    "tombstone_for",
]
