"""Files that hold a secret: passwords, and the tokens of the operator's API. Faults come as the end of a sentence, and
no secret is in them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

MAX_SECRET_BYTES = 4096
MIN_TOKEN_CHARACTERS = 16

UNNAMED = "token"
"""What a token without a name is called in the audit log."""

# RFC 6750 §2.1: what a bearer token is made of.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


def read_secret(path: Path) -> str:
    """The one line that a secret file holds, without its line ending.

    Raises:
        ValueError: why it can't be used, as the end of a sentence.
    """
    text = _read(path).removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError("the file is empty")
    if not text.isprintable():
        raise ValueError("the file must hold one line of printable text and nothing else")
    return text


def _read(path: Path) -> str:
    try:
        # Not to wait for a writer when it is a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"the file can't be opened: {(error.strerror or 'error').lower()}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it isn't a regular file")
        if status.st_mode & 0o027:
            mode = stat.S_IMODE(status.st_mode)
            raise ValueError(f"its mode is {mode:04o}, so others may read or change the secret; chmod 600 it")
        content = os.read(descriptor, MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"the file is over {MAX_SECRET_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file isn't UTF-8 text") from None


def read_tokens(path: Path) -> dict[str, str]:
    """Each name with its token: a line `NAME:TOKEN`, or one token alone.

    Raises:
        ValueError: why the file can't be used, as the end of a sentence; no token is in it.
    """
    tokens: dict[str, str] = {}
    lines = [line for line in _read(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError("the file is empty")
    for number, line in enumerate(lines, 1):
        name, colon, token = line.rpartition(":")
        where = f"line {number}: " if len(lines) > 1 else ""
        if not colon:
            if len(lines) > 1:
                raise ValueError(f"{where}of several tokens each has its name: NAME:TOKEN")
            name = UNNAMED
        if not _TOKEN_NAME.fullmatch(name):
            raise ValueError(f"{where}a token's name has 1 to 64 letters, digits and . _ @ -")
        if len(token) < MIN_TOKEN_CHARACTERS:
            raise ValueError(
                f"{where}the token has {len(token)} characters, at least {MIN_TOKEN_CHARACTERS} are needed;"
                " `openssl rand -hex 32` makes a good one"
            )
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{where}a token is made of letters, digits and . _ ~ + / - only")
        if name in tokens or token in tokens.values():
            raise ValueError(f"{where}this name or this token stands there already")
        tokens[name] = token
    return tokens
