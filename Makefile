# certstatus: what people and CI run. Each target makes .venv and builds the native core as far as it needs.
#
#   make demo [ARGS="--help"]    the five-minute start, with everything in a folder of its own
#   make build | debug           install into .venv; debug: with checks in the native core
#   make check                   style, types, import rules, stubs of the native core
#   make test [ARGS="-k crl"]    the tests; quicktest: those that need no server
#   make coverage                the tests, and what of responder/ they ran, in every process
#   make bench [ARGS=...]        CPU per request; bench-presign: signatures beside openssl's; bench-crl: a CRL of a
#                                million entries; bench-issuers: ten thousand issuers; bench-replay: what follows a
#                                restart of the record store; bench-register: certificates by the API;
#                                bench-million: a CA of a million certificates, taken over, signed and started again
#   make bench-nginx [ARGS=...]  CPU an answer of the fast path, beside nginx sending a file
#   make bench-beyond [ARGS=...] what the table alone can't answer: a nonce, what is in Redis, what is nowhere yet
#   make bench-fill [ARGS=...]   a table filled from the record store
#   make fuzz [SECONDS=60] [TARGET=all]   octets of all kinds into what reads them, with sanitizers
#   make hostile [SECONDS=10]    what a polite client notices of floods
#   make stress [FOR=600]        processes that are killed while they write in the table that they share
#   make model [FULL=1]          the rule of revocations, every interleaving of it (docs/model)
#   make clean                   back to a fresh checkout
#
# PYTHON=/path/to/python picks the Python that .venv is made of.

, := ,
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: build debug dev check test quicktest coverage demo loadtest bench bench-presign bench-crl bench-issuers bench-replay bench-register bench-million bench-nginx bench-beyond bench-fill fuzz hostile stress model interop constraints changelog clean

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

# Programs that judge our bytes in the tests, or are compared with: PACKAGE:PROGRAM.
JUDGES := gnutls-bin:ocsptool gnutls-bin:certtool openssl:openssl spin:spin gcc:gcc valgrind:valgrind wrk:wrk \
	nginx-light:nginx golang-cfssl:cfssl varnish:varnishd haproxy:haproxy curl:curl libnss3-tools:vfychain default-jdk-headless:javac \
	golang-go:go golang-golang-x-crypto-dev:/usr/share/gocode/src/golang.org/x/crypto/ocsp/ocsp.go

export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# The tests start hundreds of commands: what is compiled once is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

# Stamps: what is installed in .venv, and with which kind of native core.
KIND := $(if $(DEBUG),debug,release)
# Which versions of what we need: those of this file, or with CONSTRAINTS= the newest.
CONSTRAINTS ?= constraints.txt
VERSIONS := $(if $(CONSTRAINTS),,-newest)
EMBEDDED := $(VENV)/.embedded$(VERSIONS)-$(KIND)
DEV := $(VENV)/.dev$(VERSIONS)-$(KIND)
INPUTS := pyproject.toml $(CONSTRAINTS) $(wildcard setup.py) $(wildcard _native/*.pyx) $(wildcard _native/*.pxd) $(wildcard loadtest/*.p[yx][xd]) $(wildcard loadtest/*.h)

build: $(EMBEDDED)
dev: $(DEV)

debug:
	@$(MAKE) --no-print-directory DEBUG=1 dev

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	.ci/fragments
	$(BIN)/python -m towncrier build --draft --version unreleased >/dev/null
	$(BIN)/python -m mypy.stubtest responder._native $(if $(wildcard tests/stubtest_allowlist.txt),--allowlist tests/stubtest_allowlist.txt)

test: $(DEV)
	@.ci/prerequisites programs $(JUDGES) --install
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# One worker more than cores: the supervisor's tests wait for most of their time.
quicktest: $(DEV)
	@$(BIN)/python -m pytest -q -n $$(($(WORKERS) + 1)) --dist worksteal -m "not server" $(ARGS)

# docs/interop.md: what each judge says; `make test` holds it against what it says there.
interop: $(DEV)
	@.ci/prerequisites programs $(JUDGES) --install
	@INTEROP=write $(BIN)/python -m pytest -q tests/interop

coverage: $(DEV)
	@.ci/prerequisites programs $(JUDGES) --install
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS); tests=$$?; \
		$(BIN)/python -m coverage combine -q && $(BIN)/python -m coverage report && exit $$tests

loadtest: $(EMBEDDED)
	@$(BIN)/certstatus loadtest $(ARGS)

demo: $(EMBEDDED)
	@$(BIN)/certstatus demo $(ARGS)

bench: $(EMBEDDED)
	@$(BIN)/python -m loadtest.first_figures $(ARGS)

bench-presign: $(EMBEDDED)
	@$(BIN)/python -m loadtest.presigning $(ARGS)

bench-issuers: $(EMBEDDED)
	@$(BIN)/python -m loadtest.many_issuers $(ARGS)

bench-crl: $(EMBEDDED)
	@$(BIN)/python -m loadtest.large_crl $(ARGS)

bench-nginx: $(DEV)
	@.ci/prerequisites programs wrk:wrk nginx-light:nginx --install
	@$(BIN)/python -m loadtest.beside_nginx $(ARGS)

bench-beyond: $(EMBEDDED)
	@$(BIN)/python -m loadtest.beyond_the_table $(ARGS)

hostile: $(EMBEDDED)
	@$(BIN)/python -m loadtest.hostile --seconds $(or $(SECONDS),10) $(ARGS)

bench-fill: $(EMBEDDED)
	@$(BIN)/python -m loadtest.filling $(ARGS)

bench-replay: $(EMBEDDED)
	@$(BIN)/python -m loadtest.replay $(ARGS)

bench-million: $(EMBEDDED)
	@$(BIN)/python -m loadtest.million $(ARGS)

bench-register: $(EMBEDDED)
	@$(BIN)/python -m loadtest.registering $(ARGS)

# The native core once more, instrumented by clang for atheris, in a folder of its own.
FUZZ := build/fuzz
fuzz: $(DEV)
	@.ci/prerequisites programs clang:clang --install
	@$(BIN)/python -m pip install -q 'atheris>=3'
	@CC=clang SANITIZE=address,undefined,fuzzer-no-link $(BIN)/python setup.py -q build --build-lib $(FUZZ)/lib \
		--build-temp $(FUZZ)/objects
	@mkdir -p $(FUZZ)/found
	@LD_PRELOAD=$$($(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH=$(FUZZ)/lib:. \
		$(BIN)/python -P -m tests.fuzz $(or $(TARGET),all) $(or $(SECONDS),60) $(FUZZ)/found

stress: $(DEV)
	@$(BIN)/python -m tests.native.stress $(or $(FOR),600)

model:
	@.ci/prerequisites programs spin:spin gcc:gcc --install
	@FULL=$(FULL) docs/model/run

# What is installed now, for everybody: after `make test CONSTRAINTS=` has passed.
constraints: $(DEV)
	@{ echo '# The versions that CI installs; `make constraints` writes them.'; \
		$(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

# CHANGELOG.md of the fragments in changes/, which go with that.
changelog: $(DEV)
	@$(BIN)/python -m towncrier build --yes --version '$(or $(VERSION),$(error give VERSION=1.2.0))'

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	rm -f responder/_native/*.so loadtest/*.so loadtest/*.c _native/*.c _native/*.html
	find responder tests loadtest -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@.ci/prerequisites build
	@echo "making $(VENV)"
	@python=$$(.ci/prerequisites python) && "$$python" -m venv --clear $(VENV)

# $(1): what to install besides the package itself. A core of the other kind is thrown away first.
define install
	@.ci/prerequisites build
	@if compgen -G '$(VENV)/.*-$(if $(DEBUG),release,debug)' >/dev/null; then rm -rf build responder/_native/*.so loadtest/*.so; fi
	@rm -f $(VENV)/.embedded* $(VENV)/.dev*
	@echo "installing certstatus[$(1)] and building its native core ($(KIND))"
	@DEBUG=$(DEBUG) $(BIN)/python -m pip install -q -e '.[$(1)]' $(if $(CONSTRAINTS),-c $(CONSTRAINTS),--upgrade --upgrade-strategy eager)
endef

$(EMBEDDED): $(INPUTS) | $(BIN)/python
	$(call install,embedded)
	@touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(call install,embedded$(,)dev)
	@# With others' test data, which only its source has (tests/test_calibration.py).
	@$(BIN)/python -m pip download -q --no-deps --no-binary :all: -d $(VENV)/share/fixtures pyhanko-certvalidator \
		$(if $(CONSTRAINTS),-c $(CONSTRAINTS))
	@touch $@ $(EMBEDDED)
