"""certstatus: an OCSP and CRL responder. Start reading at `interfaces.py`."""

__version__ = "0.1.0"
