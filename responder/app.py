"""The ASGI application alone, for `hypercorn responder.app:asgi`; CERTSTATUS_CONFIG names the configuration."""

from __future__ import annotations

import os
from pathlib import Path

from responder import config as configuration
from responder import log
from responder.config import Config
from responder.roles.serve import public_app


def _config_from_environment() -> Config:
    path = os.environ.get(configuration.CONFIG_VARIABLE)
    config = configuration.load(Path(path) if path else None)
    log.configure(level=config.log.level, format=config.log.format)
    return config


asgi = public_app(_config_from_environment)
