"""The HTTP faces: OCSP and CRLs for everyone, administration and health for the operator."""
