"""The native core's one door; see `__init__.pyi` for the contracts."""

from responder._native.answer import Responder, find_request
from responder._native.certificate import parse_certificate
from responder._native.clients import Networks
from responder._native.copied import CopiedStatuses
from responder._native.crl import CRLBuilder
from responder._native.crl_reader import crl_excerpt
from responder._native.floors import Floors
from responder._native.framing import Framing, read_request
from responder._native.gate import Gate
from responder._native.issued import Issued
from responder._native.issuers import pack_issuer
from responder._native.key_files import GENERATED_KINDS, generate_key, open_key, read_key, write_key
from responder._native.keys import PrivateKey, PublicKey, load_public_key, verify
from responder._native.lane import Lane
from responder._native.limiter import Limiter
from responder._native.live import LiveKeys
from responder._native.pages import Page, Pages
from responder._native.profile import SigningProfile, encode_profile, load_profile
from responder._native.proxy import proxy_header
from responder._native.records import Records, decode_records, tombstone
from responder._native.request import MAX_CERT_IDS, MAX_REQUEST_BYTES, parse_ocsp_request
from responder._native.resp import packed_command
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
from responder._native.seal import Seal
from responder._native.table import Table

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
