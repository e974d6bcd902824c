# Weir: needs Python 3.11 to 3.13, Java, Maven and make.  `make setup`, then `make demo`.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
ROOMS  := scenarios models analysis control sim real calibration

# Stamps: what is newer than its stamp is done again, and nothing else.
INSTALLED := $(VENV)/.installed
WARM      := $(VENV)/.warm
COMPILED  := $(wildcard sim/*.py sim/*/*.py control/*.py control/*/*.py scenarios/*draws.py analysis/cluster.py)

# Both locks come from pyproject.toml; UPGRADE=1 takes newer versions, otherwise what is pinned stays.
UV         ?= $(VENV)/bin/uv
UV_COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

# A lock that comes out the same keeps its date, so that nothing is installed again.
define relock
	@cp $(1) $(1).new 2>/dev/null || true
	$(UV_COMPILE) $(2) --output-file $(1).new >/dev/null
	@if cmp -s $(1) $(1).new; then rm $(1).new; echo '$(1): unchanged'; else mv $(1).new $(1); echo '$(1): written'; fi
endef

.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup test test-full pytest pytest-full lint types format demo bench lock clean distclean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS=@ read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

setup: $(INSTALLED) $(WARM)  ## .venv from the locks, and the compiled loop; does nothing when up to date

$(INSTALLED): requirements-dev.lock
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "weir: '$(PYTHON)' is not on the PATH; give one: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		"weir: %s is Python %d.%d, Weir needs 3.11, 3.12 or 3.13; give one: make setup PYTHON=python3.12" \
		% (sys.executable, *v))'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "weir: this Python cannot make virtual environments (no venv or ensurepip);" \
		"on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

$(WARM): $(INSTALLED) $(COMPILED)
	@if test -f sim/__main__.py; then echo '$(PY) -m sim warm'; $(PY) -m sim warm; fi
	@touch $@

test: lint types pytest  ## lint, types and every test that is not slow

test-full: lint types pytest-full  ## the same, with the slow tests

pytest: setup
	$(PY) -m pytest -m 'not slow'

pytest-full: setup
	$(PY) -m pytest

lint: $(INSTALLED)  ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(INSTALLED)  ## mypy, strict
	$(PY) -m mypy

format: $(INSTALLED)  ## put the code into the format that lint asks for
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: setup  ## measure, fit, predict and compare, on this machine
	$(PY) -m calibration demo

bench: setup  ## how fast the simulator is here
	$(PY) -m benchmarks

lock: $(INSTALLED)  ## both locks anew from pyproject.toml (UPGRADE=1: newer versions)
	$(call relock,requirements.lock,)
	$(call relock,requirements-dev.lock,--extra dev --constraint requirements.lock)

clean:  ## remove results, caches and built parts (.venv stays)
	rm -rf runs reports build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .cache $(WARM)
	rm -rf real/jvm/target real/jvm/*/target calibrations/*.local.json
	find $(wildcard $(ROOMS) tests benchmarks) -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## the same, and .venv
	rm -rf $(VENV)
