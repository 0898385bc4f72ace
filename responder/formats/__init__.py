"""Readers of other CAs' status lists. Pure parsers: bytes in, values or named faults out."""
