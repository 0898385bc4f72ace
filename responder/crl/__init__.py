"""Building, checking and publishing CRLs."""
