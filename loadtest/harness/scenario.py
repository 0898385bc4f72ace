"""What is asked: a scenario is a TOML file, ours in `loadtest/scenarios/` or anybody's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responder.errors import ConfigError

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"

Loop = Literal["closed", "open"]
Certificates = Literal["good", "revoked", "never issued", "revoked meanwhile"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Share(_Table):
    """One kind of request.

    Attributes:
        share: its weight among the others of the scenario.
        certificates: which are asked about; "revoked meanwhile" are good at first.
        if_none_match: of a CRL: the client has it already.
    """

    share: Annotated[float, Field(gt=0, le=1000)] = 1.0
    asks: Literal["ocsp", "crl"] = "ocsp"
    method: Literal["GET", "POST"] = "POST"
    certificates: Certificates = "good"
    hash: Literal["sha1", "sha256", "sha384", "sha512"] = "sha1"
    nonce: bool = False
    if_none_match: bool = False


class Site(_Table):
    """The responder that is started where none is given.

    Attributes:
        certificates: half of a P-256 CA, half of an RSA-2048 CA.
        settings: of its configuration, by their variables without CERTSTATUS_.
    """

    certificates: Annotated[int, Field(ge=40, le=100_000)] = 1000
    settings: dict[str, str | int] = {}


class Scenario(_Table):
    """What is asked and how.

    Attributes:
        different: requests, at most; they are sent in turn.
        part: of the rate that the closed loop reaches, which the open loop is run at.
        revocations_per_second: in the open loop, of those that are "revoked meanwhile".
    """

    name: str
    title: str
    about: str
    tls: bool = False
    loops: list[Loop] = ["closed", "open"]
    connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    different: Annotated[int, Field(ge=1, le=200_000)] = 1000
    part: Annotated[float, Field(gt=0, le=2)] = 0.6
    revocations_per_second: Annotated[float, Field(ge=0, le=1000)] = 0.0
    site: Site = Site()
    requests: Annotated[list[Share], Field(min_length=1, max_length=20)]


def names() -> list[str]:
    """Of the scenarios that come with certstatus, as they are run where none is named."""
    return sorted((path.stem for path in SCENARIOS.glob("*.toml")), key=lambda name: (load(name).tls, name))


def load(name_or_path: str) -> Scenario:
    """A scenario of ours by its name, or of a file.

    Raises:
        ConfigError: every fault it has.
    """
    ours = SCENARIOS / f"{name_or_path}.toml"
    path = ours if ours.is_file() else Path(name_or_path)
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(each.stem for each in SCENARIOS.glob("*.toml")))
        raise ConfigError(f"{name_or_path}: neither a scenario ({known}) nor a file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return Scenario(name=path.stem, **table)
    except TypeError:
        raise ConfigError(f"{path}: name: a scenario is called as its file is; take the line out") from None
    except ValidationError as error:
        raise ConfigError(
            *(f"{path}: {'.'.join(map(str, each['loc']))}: {each['msg']}, not {each['input']!r}"
              for each in error.errors())
        ) from error  # fmt: skip
