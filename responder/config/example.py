"""The configuration file that explains itself."""

from __future__ import annotations

import inspect
import textwrap

from responder.config.model import SECTIONS
from responder.config.values import as_toml


def example() -> str:
    """A configuration file with every key, its meaning and its default, all commented out."""
    lines = [
        "# certstatus: every key, with its default. Take the # away from those you change.",
        "# Each is also a variable, which wins over this file: serve.listen is CERTSTATUS_SERVE_LISTEN.",
        "# `certstatus config check -c FILE` names every fault. Secrets are files that are named here.",
        "# Relative paths count from the folder of this file.",
    ]
    for section, model in SECTIONS.items():
        lines += ["", *(f"# {line}" for line in textwrap.wrap(inspect.getdoc(model) or "", 108)), f"[{section}]"]
        for name, field in model.model_fields.items():
            meaning = field.description or ""
            lines += [f"# {line}" for line in textwrap.wrap(meaning, 108)]
            lines.append(f"#{name} = {as_toml(field.default)}")
    return "\n".join(lines) + "\n"
