"""The configuration: one TOML file, every key also an environment variable, every fault reported at once."""

from __future__ import annotations

from responder.config.example import example
from responder.config.load import CONFIG_VARIABLE, load
from responder.config.model import Config
from responder.config.values import Address, Network, mask

__all__ = [
    "Address",
    "CONFIG_VARIABLE",
    "Config",
    "Network",
    "example",
    "load",
    "mask",
]
