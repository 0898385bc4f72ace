"""Fuzzes one target with atheris, or all of them in turn, for so many seconds each.

    python -m tests.fuzz TARGET|all SECONDS FOLDER

What was found that is new goes into FOLDER/TARGET, to go on from; what fails into FOLDER/TARGET-crash-…, and the exit
code isn't 0. `make fuzz` builds the native core with sanitizers for it, and calls this.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(name: str, seconds: int, folder: Path) -> int:
    """Fuzz; the exit code."""
    from tests.fuzz.targets import SEEDS, TARGETS

    if name == "all":
        arguments = [str(seconds), str(folder)]
        failed = [
            each
            for each in TARGETS
            if subprocess.run([sys.executable, "-P", "-m", "tests.fuzz", each, *arguments], check=False).returncode
        ]
        sys.stderr.write(f"{len(TARGETS)} targets, failed: {', '.join(failed) or 'none'}\n")
        return bool(failed)
    if name not in TARGETS:
        sys.stderr.write(f"TARGET={name}: it is one of {', '.join(TARGETS)}, or all\n")
        return 2
    import atheris

    found = folder / name
    found.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"\n{name}, {seconds} s: {(TARGETS[name].__doc__ or '').strip()}\n")
    options: dict[str, object] = {"max_total_time": seconds, "max_len": 4096, "timeout": 10, "rss_limit_mb": 2048}
    options |= {"verbosity": 1, "print_final_stats": 1, "artifact_prefix": f"{folder}/{name}-"}
    flags = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(found), str(SEEDS / name)], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
