"""Builds the native core: the sources in `_native/` become `responder._native.*`; and the client of the load test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

REMEDY = "install what the native core is built with: apt-get install gcc python3-dev libssl-dev"
MODULES = (
    "errors", "algorithms", "decoder", "keys", "key_files", "certificate", "request", "record_format", "records",
    "render", "sign", "verbatim", "profile", "crl", "crl_reader", "floors", "table", "framing", "clients", "proxy",
    "limiter", "gate", "issuers", "issued", "live", "holdings", "signing_threads", "answer", "pages", "site", "mail",
    "queue", "seal", "connections", "sending", "turns", "lane", "copied", "batch", "resp",
)  # fmt: skip
CLIENT = ("client", "tally")
ROOT = Path(__file__).resolve().parent
CIMPORT = Path("build") / "cimport"

DEBUG = os.environ.get("DEBUG") == "1"
SANITIZE = os.environ.get("SANITIZE", "")
ANNOTATE = os.environ.get("ANNOTATE") == "1"


def prepare_sources() -> None:
    """Let `cimport responder._native.x` and the build find the sources: by a link, since a plain package_dir mapping
    would break cimport, mypy and import-linter."""
    package = ROOT / CIMPORT / "responder"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    link = package / "_native"
    if link.is_symlink() and link.resolve() != ROOT / "_native":
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(Path(os.path.relpath(ROOT / "_native", package)))


def compiles_with_libcrypto() -> bool:
    """Whether the compiler, the Python headers and libcrypto's headers are there."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\n#include <openssl/evp.h>\nint main(void) { return 0; }\n")
        include = f"-I{sysconfig.get_path('include')}"
        done = subprocess.run([*compiler, include, "-fsyntax-only", str(source)], capture_output=True, check=False)
        return done.returncode == 0


class BuildExt(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Says in one sentence what is missing, before the compiler says it in a hundred."""

    def run(self) -> None:
        if not compiles_with_libcrypto():
            sys.exit(f"certstatus: the compiler or the headers of Python or OpenSSL are missing; {REMEDY}")
        for built in (ROOT / "responder" / "_native").glob("*.so"):
            if built.name.partition(".")[0] not in MODULES:
                built.unlink()  # of an earlier version, which was built in this folder too
        super().run()


def extensions() -> list[Extension]:
    from Cython.Build import cythonize

    compile_args = ["-Wall", "-fvisibility=hidden", *(["-O0", "-g"] if DEBUG else ["-O3"])]
    link_args = []
    if SANITIZE:
        compile_args += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
        if "fuzzer" not in SANITIZE:  # atheris brings the runtime with it
            link_args += [f"-fsanitize={SANITIZE}"]
    modules = [
        Extension(
            f"responder._native.{name}",
            [str(CIMPORT / "responder" / "_native" / f"{name}.pyx")],
            libraries=["crypto"],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
            define_macros=[("PY_SSIZE_T_CLEAN", None)],
        )
        for name in MODULES
    ]
    client = [
        Extension(
            f"loadtest.{name}",
            [f"loadtest/{name}.pyx"],
            include_dirs=["loadtest"],
            libraries=["ssl", "crypto"],
            depends=["loadtest/client.h"],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for name in CLIENT
    ]
    return cythonize(  # type: ignore[no-any-return,no-untyped-call]
        [*modules, *client],
        include_path=[str(CIMPORT)],
        build_dir="build/c",
        annotate=ANNOTATE,
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "embedsignature": False,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
        },
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    prepare_sources()
    os.environ.setdefault("MAX_JOBS", str(os.cpu_count() or 1))
    setup(
        ext_modules=extensions(), cmdclass={"build_ext": BuildExt}, options={"build_ext": {"parallel": os.cpu_count()}}
    )
