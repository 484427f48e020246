# What people type. `make` alone lists it. Only GNU make and Python 3.10-3.13 with venv are needed.
#
# Stamps in .venv say what is installed: `make demo` and `make up` need the locked packages of
# requirements.txt, `make test` and `make lint` those of requirements-dev.txt on top. A stamp is
# made again only when its lock (or pyproject.toml) changes.

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
UV_VERSION := 0.13.9
PORT ?= 8080

# Airflow takes many times longer to import when its bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE
# A path reaches the recipe through the environment, so that no quote or space in it is read twice.
export DATA WEIGHTS BENCH MODULE

.DELETE_ON_ERROR:
.PHONY: help setup demo up pictures docs test test-exhaustive test-networks test-cluster lint lock sbom audit bench mutants \
  clean compose-secrets compose-images compose-up compose-down compose-test

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.runs ## install what demo and up need; they do it by themselves

demo: $(VENV)/.runs ## run the whole workflow once: [DATA=FOLDER_OR_ZIP WEIGHTS=FILE ARGS="--judged-on point"]
	@$(PY) scripts/demo.py --data "$$DATA" --weights "$$WEIGHTS" $(ARGS)

up: $(VENV)/.runs ## serve Airflow's pages on 127.0.0.1 until Ctrl-C: [PORT=8080]
	@$(PY) scripts/local_airflow.py --port "$(PORT)"

pictures: $(VENV)/.tests ## take the documentation's pictures anew; needs Chromium or Chrome
	@$(PY) scripts/pictures.py

docs: $(VENV)/.runs ## write what is made from the code into docs/: settings, runbook, log events
	@$(PY) scripts/write_docs.py

# tests/conftest.py says how many processes, and what begins first. A file stays in one process,
# but for its classes, each of which may go to another.
ON_ALL_CORES = --numprocesses=auto --maxprocesses=4 --dist=loadscope --no-loadscope-reorder
APART = not cluster and not stack
# More processes than cores, each of which would start a thread for every core.
test test-exhaustive test-networks: export OMP_NUM_THREADS := 1

test: $(VENV)/.tests ## run the tests: [ARGS="-k gate"]
	@$(PY) -m pytest $(ON_ALL_CORES) -m "not exhaustive and not networks and $(APART)" $(ARGS)

test-exhaustive: $(VENV)/.tests ## run every case of what test shows by a representative: [ARGS=…]
	@$(PY) -m pytest $(ON_ALL_CORES) -m "exhaustive and $(APART)" $(ARGS)

test-networks: $(VENV)/.tests ## run what test shows of one network of a family with all others: [ARGS=…]
	@$(PY) -m pytest $(ON_ALL_CORES) -m networks $(ARGS)

# By themselves: all processes of a cluster share the cores already.
test-cluster: $(VENV)/.tests ## run the DAG on two Celery workers; needs PostgreSQL and Redis: [ARGS=…]
	@$(PY) -m pytest -m cluster $(ARGS)

lint: $(VENV)/.tests ## check style, Airflow's rules, types, that imports go downward only, and containers
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/hadolint --failure-threshold=warning Dockerfile tests/support/stand_in/Dockerfile
	@$(VENV)/bin/compose-lint check --quiet --skip-suppressed docker-compose.yaml

bench: $(VENV)/.tests ## measure one claim: BENCH=NAME [DATA=FOLDER_OR_ZIP WEIGHTS=FILE ARGS=…]
	@test -f "benchmarks/$$BENCH.py" || { echo "make bench BENCH=NAME, one of:" \
	  $(filter-out drawing drift_images framing measuring stages workflow,$(sort $(basename $(notdir $(wildcard benchmarks/*.py))))); exit 1; }
	@$(PY) "benchmarks/$$BENCH.py" $(if $(DATA),--data "$$DATA") $(if $(WEIGHTS),--weights "$$WEIGHTS") $(ARGS)

mutants: $(VENV)/.tests ## show which changes of a module no test sees: MODULE=skin_pipeline/intervals.py [TESTS=…]
	@$(PY) scripts/mutants.py "$$MODULE" $(TESTS)

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header

lock: $(VENV)/.uv ## lock the newest packages that fit the .in files
	@$(COMPILE) --upgrade requirements.in -o requirements.txt
	@$(COMPILE) --upgrade -c requirements.txt requirements-cluster.in -o requirements-cluster.txt
	@$(COMPILE) --upgrade -c requirements.txt -c requirements-cluster.txt requirements-dev.in -o requirements-dev.txt
	@$(COMPILE) --upgrade -c requirements.txt requirements-lineage.in -o requirements-lineage.txt
	@$(COMPILE) --upgrade -c requirements.txt requirements-openvino.in -o requirements-openvino.txt
	@$(COMPILE) --upgrade -c requirements.txt -c requirements-cluster.txt requirements-gpu.in -o requirements-gpu.txt

# Both run tools of their own environments; the second asks an advisory service, which must be reached.
LOCKS = requirements.txt requirements-cluster.txt

sbom: $(VENV)/.uv ## write what the image installs to build/sbom.json, in CycloneDX's format
	@mkdir -p build
	@cat $(LOCKS) | sed -e '/^ *#/d' -e ':line' -e '/\\$$/{N;s/ *\\\n */ /;b line' -e '}' | sort -u | \
	  $(VENV)/bin/uvx --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	  --output-reproducible --of JSON -o build/sbom.json -
	@echo "Written: build/sbom.json"

audit: $(VENV)/.uv ## ask whether a locked package has a known vulnerability; fails if one was not looked up
	@for lock in $(LOCKS); do \
	  $(VENV)/bin/uvx --quiet pip-audit==2.10.1 --strict --disable-pip --require-hashes -r $$lock || exit 1; \
	done

# By itself, and it takes some 20 minutes: starts real containers, and a Docker engine if none answers.
compose-test: $(VENV)/.tests ## run the DAG in the containers of docker-compose.yaml: [ARGS=…]
	@$(PY) -m pytest -m stack $(ARGS)

# These need nothing of .venv: they are for machines that run containers and nothing else.
compose-up: ## start the containers of docker-compose.yaml, with secrets, and wait until they are healthy
	@python3 scripts/compose_stack.py up $(ARGS)

compose-down: ## stop and remove the containers; their data stays, without ARGS=--volumes
	@python3 scripts/compose_stack.py down $(ARGS)

compose-secrets: ## write the passwords and keys of docker-compose.yaml, and .env: needs python3
	@python3 scripts/compose_secrets.py

compose-images: ## ask the registry for the digests of the images and write them down: needs docker buildx
	@python3 scripts/compose_images.py

clean: ## remove what was set up here: .venv, Airflow's database and logs; var/store with the models stays
	rm -rf $(VENV) var/airflow .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# --- what is installed ----------------------------------------------------------------------------

# The newest Python that really runs and has venv; PYTHON= takes another one.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3.10 python3)
FITS := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

$(VENV)/.uv:
	@for python in $(PYTHONS); do \
	  if "$$python" -c '$(FITS)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "No Python 3.10 to 3.13 with venv found; tried: $(PYTHONS)." >&2; \
	  echo "Install one (Debian and Ubuntu: apt install python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV) && \
	$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.packages: $(VENV)/.uv requirements.txt
	@echo "Installing the locked packages"
	@$(UV) pip sync --quiet --compile-bytecode requirements.txt
	@touch $@

$(VENV)/.runs: $(VENV)/.packages pyproject.toml
	@$(UV) pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.tests: $(VENV)/.packages requirements-dev.txt | $(VENV)/.runs
	@echo "Installing the tools for tests"
	@$(UV) pip install --quiet -r requirements-dev.txt
	@touch $@
