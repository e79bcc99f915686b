# The two commands of the README are `make repro` and `make test`; `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
UV_VERSION := 0.13.9
# Not the one inside an activated .venv, which would delete itself when the environment is made again.
FOUND_UV := $(shell command -v uv 2>/dev/null | grep -v '/\.venv/')
UV := $(or $(FOUND_UV),.tools/uv/bin/uv)
PROFILE ?= mini
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
# Where it is set, as in many containers, each stage would compile its imports again, for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help repro test test-rehearsal studies lint lab profile lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

repro: .git .venv/ready  ## run the pipeline: data, models, adapter, predictions, scores, tables, notebooks
	python -m vsd_utils mend
	dvc repro

test: .git .venv/ready  ## run all tests, the smoke pipeline included
	pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-rehearsal: .git .venv/ready  ## run the paper's rehearsal on real photos, where they are at hand (minutes)
	pytest -m rehearsal

studies: .git .venv/ready  ## make the runs that studies/ asks for and that are not there, and join them into tables
	vsd study --all --jobs 2

lint: .venv/ready  ## ruff, mypy, and the order of the layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports

lab: .venv/ready  ## open the notebooks in JupyterLab, with the current parameters
	jupyter lab notebooks

profile: .venv/ready  ## write params.yaml for PROFILE=mini|boxes|rehearsal|paper|paper_24gb|smoke without running anything
	python -m vsd_utils profile $(PROFILE)

lock: .venv/ready  ## resolve requirements.lock again after a change of pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command 'make lock' --output-file requirements.lock

clean:  ## remove the environment and unfinished work; data, models and reports stay
	rm -rf .venv .tools work

# Said before the environment is made: DVC, and the tests, need a repository.
.git:
	@git rev-parse --git-dir >/dev/null || { echo "error: DVC needs a git repository, and a ZIP download is none. Type:"; \
		echo "  git init && git add --all && git commit --message start"; exit 2; }

# Everything lies inside the checkout. The stamp is last, so an interrupted set-up starts over. Compiled here on all
# cores, what the stages import need not be compiled by the first of them, one file after another.
.venv/ready: requirements.lock pyproject.toml | .tools/uv-found
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

# uv from the PATH, else from pip into .tools, also where Debian keeps pip out of its own Python.
.tools/uv-found:
	@mkdir -p .tools
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or 3.12 is needed: make PYTHON=python3.12 repro"; exit 2; }
	@test -n "$(FOUND_UV)" || { echo "fetching uv $(UV_VERSION)"; \
		$(PYTHON) -m pip --version >/dev/null 2>&1 \
		&& $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action ignore \
			--target .tools/uv uv==$(UV_VERSION) \
		|| { $(PYTHON) -m venv .tools/pip && .tools/pip/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
			&& mkdir -p .tools/uv/bin && ln -sf ../../pip/bin/uv .tools/uv/bin/uv; } \
		|| { echo "error: neither uv, pip nor venv is here; on Debian: apt install python3-venv"; exit 2; }; }
	@touch $@
