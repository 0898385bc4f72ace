"""Answering OCSP: the chain of sources, pre-signing and revocation."""
