"""Judges that are Python libraries. They are given what an HTTP client of ours fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from pkilint import loader, pkix
from pkilint.pkix import crl, extension, name
from pkilint.pkix import ocsp as pkix_ocsp
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathValidationError, RevokedError

from tests.interop.case import UNAUTHORIZED, Case, Limit, Tells, every
from tests.interop.world import GOOD, HASHES, REVOKED, UNISSUED, World
from tests.makers import check_signature

_SIGNED = tuple(status for status in (GOOD, REVOKED, "keyCompromise", "certificateHold"))


def read(file: Path) -> x509.Certificate:
    """A PEM certificate."""
    return x509.load_pem_x509_certificate(file.read_bytes())


def ask(client: httpx.Client, world: World, case: Case, nonce: bytes | None = None) -> bytes:
    """What is answered to this question, by POST."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(read(case.leaf), read(case.issuer_file), HASHES[case.digest])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    request = builder.build().public_bytes(serialization.Encoding.DER)
    return client.post(world.ocsp, content=request, headers={"Content-Type": "application/ocsp-request"}).content


class Pyca:
    """cryptography, which verifies the signature, the delegate's, the times, the CertID and the nonce."""

    name = "pyca/cryptography"
    what = "every hash, with a nonce and without"
    tells = Tells()
    limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        return every(world)

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with httpx.Client(trust_env=False) as client:
            for case in cases:
                nonce = os.urandom(32) if case.nonce else None
                yield self._says(ocsp.load_der_ocsp_response(ask(client, world, case, nonce)), case, nonce)

    def _says(self, response: ocsp.OCSPResponse, case: Case, nonce: bytes | None) -> str:
        if response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
            return UNAUTHORIZED
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return str(response.response_status)
        signer = case.issuer.certificate
        try:
            if response.certificates:
                (signer,) = response.certificates
                signer.verify_directly_issued_by(case.issuer.certificate)
            is_pss = response.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
            check_signature(signer.public_key(), response.signature, response.tbs_response_bytes, pss=is_pss)
        except InvalidSignature:
            return "not verified"
        (single,) = response.responses
        if (single.serial_number, single.hash_algorithm.name) != (read(case.leaf).serial_number, case.digest):
            return "an answer to another question"
        if nonce is not None and response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce != nonce:
            return "another nonce"
        if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
            return GOOD
        return REVOKED if single.revocation_reason is None else f"{REVOKED}, {single.revocation_reason.value}"


class Pyhanko:
    """pyhanko-certvalidator, which validates a path with the answer, or with the CRL, that it is given. It is given no
    errors."""

    def __init__(self, how: str) -> None:
        """`how`: OCSP or CRL."""
        self._by_crl = how == "CRL"
        self.name = f"pyhanko-certvalidator, {how}"
        self.what = "" if self._by_crl else "SHA-1 and SHA-256, without a nonce"
        self.tells = Tells(reasons=False, listed=self._by_crl)
        self.limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        statuses = (*_SIGNED, UNISSUED) if self._by_crl else _SIGNED
        return every(world, statuses=statuses, digests=["crl"] if self._by_crl else ["sha1", "sha256"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with httpx.Client(trust_env=False) as client:
            for case in cases:
                if self._by_crl:
                    octets = client.get(f"{world.site.url}/crl/{case.issuer.id}.crl").content
                    given = {"crls": [asn1_crl.CertificateList.load(octets)]}
                else:
                    given = {"ocsps": [asn1_ocsp.OCSPResponse.load(ask(client, world, case))]}
                yield asyncio.run(self._says(case, given))

    async def _says(self, case: Case, given: dict[str, Any]) -> str:
        root, leaf = (
            asn1_x509.Certificate.load(read(file).public_bytes(serialization.Encoding.DER))
            for file in (case.issuer.file, case.leaf)
        )
        context = ValidationContext(trust_roots=[root], revocation_mode="hard-fail", **given)
        validator: Any = CertificateValidator(leaf, [], validation_context=context)
        try:
            await validator.async_validate_usage(set())
        except RevokedError:
            return REVOKED
        except PathValidationError as error:
            return str(error)
        return GOOD


class Pkilint:
    """pkilint, which lints an answer or a CRL by RFC 6960 and 5280; what it finds nothing wrong with is as it was."""

    def __init__(self, how: str) -> None:
        """`how`: OCSP or CRL."""
        self._by_crl = how == "CRL"
        self.name = f"pkilint, {how}"
        self.what = "" if self._by_crl else "every hash, with a nonce and without"
        self.tells = Tells(listed=self._by_crl)
        self.limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        if self._by_crl:
            return every(world, statuses=[GOOD], digests=["crl"], nonces=[False])
        return every(world, statuses=_SIGNED)

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        decoders = [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ]
        if self._by_crl:
            load = loader.RFC5280CertificateListDocumentLoader().load_der_document
            parts = [
                crl.create_issuer_validator_container([]),
                crl.create_validity_validator_container([]),
                crl.create_extensions_validator_container([]),
            ]
            rules = crl.create_pkix_crl_validator_container(decoders, parts)
        else:
            load = loader.RFC6960OCSPResponseDocumentLoader().load_der_document
            rules = pkix_ocsp.create_pkix_ocsp_response_validator_container(
                [pkix_ocsp.create_response_decoder(), *decoders], []
            )
        with httpx.Client(trust_env=False) as client:
            for case in cases:
                if self._by_crl:
                    octets = client.get(f"{world.site.url}/crl/{case.issuer.id}.crl").content
                else:
                    octets = ask(client, world, case, os.urandom(32) if case.nonce else None)
                found = [
                    each.finding.code
                    for result in rules.validate(load(octets, str(case)).root)
                    for each in result.finding_descriptions
                ]
                yield ", ".join(found) or self.tells.of(case.status)
