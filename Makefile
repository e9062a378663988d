# The whole workflow. `make` alone lists the targets; CONTRIBUTING.md says when to use which.
#
# Everything made here lands in $(VENV), target/ and .cache/, and nowhere else. Stamp files in
# $(VENV) remember what is installed, so a second run needs neither the network nor the compiler.
#
#   make test VENV=.venv-3.13 PYTHON=python3.13    the same for another interpreter, beside the first
#   make test-python ARGS='-k gather -x'           ARGS goes to the one command that a target runs
#   make build PROFILE=dev                         quick to compile, slow to run, assertions on

PYTHON   ?= python3
VENV     ?= .venv
PROFILE  := release
PROGRAMS := 20000
JOBS     := 2
ARGS     :=

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PY  := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --quiet

# pyo3 asks this interpreter what to compile for; without it clippy would ask whichever is first on
# the PATH and rebuild everything whenever that differs.
export PYO3_PYTHON = $(abspath $(PY))
export PYTHONDONTWRITEBYTECODE = 1
export HYPOTHESIS_STORAGE_DIRECTORY = $(abspath .cache/hypothesis)

STAMP := $(VENV)/.stamp
LOGS  := .cache/test/$(notdir $(VENV))

SOURCES := $(shell find src crates python -type f ! -name '*.py[co]' ! -name '*.so' 2>/dev/null) \
    $(wildcard build.rs Cargo.toml Cargo.lock pyproject.toml README.md LICENSE-*)

# Longest first, so that the short ones fill the gaps.
PARTS := conformance test-python differential leaks stubtest test-rust

help:  ## List the targets (this)
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' \
	    $(firstword $(MAKEFILE_LIST))

demo: build  ## Build everything from nothing and take the tour
	@$(PY) examples/tour.py $(ARGS)

build: $(STAMP)-built-$(PROFILE)  ## Build the extension and install it into $(VENV)

# --- checking ------------------------------------------------------------------------------------

test: build $(STAMP)-test  ## Run every test there is; one failing part does not stop the others
	@rm -rf $(LOGS); mkdir -p $(LOGS)
	@echo "Running $(words $(PARTS)) parts, $(JOBS) at a time; each reports when it is done."
	@status=0; $(MAKE) --no-print-directory -k -j$(JOBS) -O $(PARTS) || status=$$?; \
	    for part in $(PARTS); do \
	        test -e $(LOGS)/$$part.log || echo "exit status 1" > $(LOGS)/$$part.log; \
	    done; \
	    awk "$$TALLY" $(PARTS:%=$(LOGS)/%.log); exit $$status

test-rust:  ## Test the reactor and the load client, without an interpreter
	@$(call part,cargo test --quiet -p aioxide-reactor $(ARGS) \
	    && cargo test --quiet --profile load -p aioxide-netload $(ARGS))

test-python: build $(STAMP)-test  ## Run pytest over tests/
	@$(call part,$(PY) -m pytest $(ARGS))

conformance: build $(STAMP)-test  ## Run CPython's own asyncio test suite on aioxide
	@$(call part,$(PY) -m tests.conformance $(ARGS))

differential: build $(STAMP)-test  ## Run generated programs on asyncio and on aioxide and compare
	@$(call part,$(PY) -m tests.differential --programs $(PROGRAMS) $(ARGS))

differential-long:  ## The same for a million programs
	@$(MAKE) --no-print-directory differential PROGRAMS=1000000

leaks: build $(STAMP)-test  ## Check that nothing is leaked or kept alive
	@$(call part,$(PY) -m tests.leaks $(ARGS))

stubtest: build $(STAMP)-test  ## Check the type stubs against the compiled module
	@$(call part,$(PY) -m mypy.stubtest aioxide._core --mypy-config-file pyproject.toml $(ARGS))

lint:  ## Check format, lints and types, of Rust and of Python
	@$(MAKE) --no-print-directory -k lint-rust lint-python

lint-rust: | $(STAMP)-venv
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- --deny warnings

lint-python: $(STAMP)-lint
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(PY) -m mypy --python-version 3.11
	$(PY) -m mypy --python-version 3.14

fmt: $(STAMP)-lint  ## Format the code and fix what can be fixed
	cargo fmt --all
	$(VENV)/bin/ruff check --quiet --fix-only .
	$(VENV)/bin/ruff format --quiet .

# --- measuring -----------------------------------------------------------------------------------

bench:  ## Measure aioxide against asyncio and its peers: both of the next, one after the other
	@$(MAKE) --no-print-directory -k -j1 bench-loop bench-net

bench-loop: build $(STAMP)-bench  ## Measure the loop and what tasks do
	@$(PY) -m benchmarks $(ARGS)

bench-net: build $(STAMP)-bench  ## Measure servers under load, TLS, child processes and pipes
	@$(PY) -m benchmarks.net $(ARGS)

# --- keeping house -------------------------------------------------------------------------------

lock:  ## Pin the newest versions of the tools in requirements/
	@test -x .cache/lock/bin/uv || { $(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install -q uv; }
	@for name in build test lint; do \
	    .cache/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	        requirements/$$name.in --output-file requirements/$$name.txt > /dev/null; \
	done

clean:  ## Remove everything that make made
	rm -rf $(VENV) target .cache

.PHONY: help demo build test $(PARTS) differential-long lint lint-rust lint-python fmt \
    bench bench-loop bench-net lock clean

# --- the environment -----------------------------------------------------------------------------

$(STAMP)-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "aioxide needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(STAMP)-maturin: requirements/build.txt | $(STAMP)-venv
	@$(PIP) install -r $<
	@touch $@

$(STAMP)-test: requirements/test.txt | $(STAMP)-maturin
	@echo "Installing the test environment"
	@$(PIP) install -r $<
	@touch $@

$(STAMP)-lint: requirements/lint.txt | $(STAMP)-test
	@$(PIP) install -r $<
	@touch $@

$(STAMP)-bench: benchmarks/requirements.txt | $(STAMP)-maturin
	@echo "Installing the peers to measure against"
	@$(PIP) install -r $<
	@touch $@

# A wheel, installed: what a user gets, with nothing written into python/.
$(STAMP)-built-$(PROFILE): $(SOURCES) | $(STAMP)-maturin
	@command -v cargo > /dev/null \
	    || { echo "aioxide needs a Rust toolchain to build: https://rustup.rs" >&2; exit 1; }
	@echo "Building the extension, profile $(PROFILE), into $(VENV)"
	@rm -rf .cache/wheel/$(notdir $(VENV)) $(STAMP)-built-*
	@$(VENV)/bin/maturin build --profile $(PROFILE) $(if $(CI),--locked) --auditwheel skip \
	    --interpreter $(PY) --out .cache/wheel/$(notdir $(VENV))
	@$(PIP) install --no-index --no-deps --force-reinstall .cache/wheel/$(notdir $(VENV))/*.whl
	@touch $@

# --- how a part of the tests runs ----------------------------------------------------------------

# Shows the command's output and keeps it, with its exit status as the last line, for the tally.
# MAKEFLAGS would offer cargo a jobserver that make does not hand to recipes.
define part
unset MAKEFLAGS MFLAGS; mkdir -p $(LOGS); echo "==> $@"; status=0; \
$(1) 2>&1 | tee $(LOGS)/$@.log || status=$$?; \
echo "exit status $$status" >> $(LOGS)/$@.log; exit $$status
endef

# Every runner closes with a line that says how many passed and failed (cargo has one for each test
# binary). A part that failed without saying so counts as one failure; one that succeeded silently,
# as one pass.
define TALLY
function count(word) { return match($$0, "[0-9]+ " word) ? substr($$0, RSTART, RLENGTH) + 0 : 0 }
function close_part() {
    if (part == "") return
    if (status != 0 && failed == 0) failed = 1
    if (status == 0 && passed == 0) passed = 1
    printf "  %-14s %8d passed %6d failed\n", part, passed, failed
    all_passed += passed; all_failed += failed
}
BEGIN { print "" }
FNR == 1 {
    close_part()
    part = FILENAME; sub(/.*\//, "", part); sub(/\.log$$/, "", part)
    passed = failed = 0; status = 1
}
/^test result: / { passed += count("passed"); failed += count("failed"); next }
/[0-9]+ (passed|failed|errors?)/ {
    passed = count("passed"); failed = count("failed") + count("error")
}
/^exit status / { status = $$3 }
END { close_part(); printf "\n%d passed, %d failed\n", all_passed, all_failed }
endef
export TALLY
