"""The native core's one door; see `__init__.pyi` for the contracts."""

from responder._native.certificate import parse_certificate
from responder._native.crl import CRLBuilder
from responder._native.crl_reader import crl_excerpt
from responder._native.key_files import GENERATED_KINDS, generate_key, open_key, read_key, write_key
from responder._native.keys import PrivateKey, PublicKey, load_public_key, verify
from responder._native.profile import SigningProfile, encode_profile, load_profile
from responder._native.records import Records, decode_records, tombstone
from responder._native.request import (
    MAX_CERT_IDS,
    MAX_REQUEST_BYTES,
    parse_ocsp_request,
)
from responder._native.rows import (
    CertIDRow,
    CertificateParts,
    ExtensionParts,
    RequestRow,
    SignatureRow,
    SingleRow,
    StatusRow,
)

__all__ = [
    "CertIDRow",
    "RequestRow",
    "SignatureRow",
    "GENERATED_KINDS",
    "generate_key",
    "write_key",
    "MAX_CERT_IDS",
    "MAX_REQUEST_BYTES",
    "CRLBuilder",
    "CertificateParts",
    "ExtensionParts",
    "PrivateKey",
    "PublicKey",
    "Records",
    "SigningProfile",
    "SingleRow",
    "StatusRow",
    "crl_excerpt",
    "decode_records",
    "encode_profile",
    "open_key",
    "read_key",
    "load_profile",
    "load_public_key",
    "parse_certificate",
    "parse_ocsp_request",
    "tombstone",
    "verify",
]
