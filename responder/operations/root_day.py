"""What an offline issuer must sign next, as a script of `openssl` lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from responder.formats.openssl_index import line_of
from responder.pki import Issuer, names
from responder.storage.answers import SaidElsewhere

_SCRIPT = """\
#!/bin/sh
# What offline issuer {issuer} has to sign: {answers} answers for {certificates} certificates, of {now}.
# {subject}
#
# Read the list of certificates below. Then, where the CA's key is, run this file with sh; beforehand set
#   CA      the CA's certificate                              (ca.pem)
#   KEY     the private key that signs                        (ca.key)
#   SIGNER  its certificate, where a delegate signs           (the CA's)
#   DAYS    for how long the answers are to be valid          ({days})
#   OUT     the folder that they are put into                 ({folder})
# and bring what is in OUT back: certstatus import ocsp-response {folder}
set -eu
CA=${{CA:-ca.pem}} KEY=${{KEY:-ca.key}} DAYS=${{DAYS:-{days}}} OUT=${{OUT:-{folder}}}
SIGNER=${{SIGNER:-$CA}} DIGEST=${{DIGEST-{digest}}}
CERTS=; if [ "$SIGNER" = "$CA" ]; then CERTS=-resp_no_certs; fi
mkdir -p "$OUT"

# Status, end, revocation, serial number, file, subject: as `openssl ca` keeps them.
cat > "$OUT/index.txt" <<'END'
{index}
END
echo "unique_subject = no" > "$OUT/index.txt.attr"

answer() {{
    openssl ocsp -index "$OUT/index.txt" -CA "$CA" -issuer "$CA" "-$1" -serial "$2" -no_nonce \\
        -rsigner "$SIGNER" -rkey "$KEY" ${{DIGEST:+-rmd "$DIGEST"}} $CERTS -resp_key_id -ndays "$DAYS" \\
        -respout "$OUT/$2-$1.der" > "$OUT/openssl.log" 2>&1 || {{ cat "$OUT/openssl.log" >&2; exit 1; }}
}}
{lines}
rm -f "$OUT/openssl.log"
echo "$OUT: {answers} answers; bring them back: certstatus import ocsp-response $OUT"
"""


def root_day(issuer: Issuer, said: Sequence[SaidElsewhere], *, days: int, now: datetime) -> str:
    """A shell script that has everything signed that is listed: each certificate by each of the issuer's hashes. Status
    is what it is here."""
    hash_names = [variant.hash_name for variant in issuer.policy.variants]
    lines = [f"answer {name} {each.status.certificate.serial_number:#x}" for each in said for name in hash_names]
    return _SCRIPT.format(
        issuer=issuer.id,
        subject=" ".join(names.describe(issuer.name).split()),
        answers=len(lines),
        certificates=len(said),
        now=now.isoformat(timespec="seconds"),
        days=days,
        folder=shlex.quote(f"ocsp-{issuer.id}"),
        digest=_digest(issuer),
        index="\n".join(line_of(each.status) for each in said),
        lines="\n".join(lines),
    )


def _digest(issuer: Issuer) -> str:
    """What a key of the CA's kind signs with; openssl takes SHA-256 unless told, and nothing where the algorithm hashes
    for itself."""
    key = load_der_public_key(issuer.public_key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "sha256" if key.key_size <= 256 else "sha384" if key.key_size <= 384 else "sha512"
    return "sha256" if isinstance(key, rsa.RSAPublicKey) else ""
