# All tasks of this project; `make help` lists them. Works with GNU make 3.81 (macOS) and later.

# Set these on the command line: make run PORT=9000
PORT =
MODEL =
REVISION =
PYTHON =
TORCH_INDEX_URL =

BIN := .venv/bin
# Its time is that of the last installation, so that make installs again only after a change.
INSTALLED := .venv/.installed

# Both packages at once, because the second requires the first.
install-extra = $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt \
	--editable clients/python --editable ".[dev,$(1)]"

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-clients test-large verify verified-on fuzz pictures check format demo-model calibrate eval bench chaos overload soak \
	keys reliability image-check dashboard screenshots audit sbom openapi javascript errors settings hooks clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables:  PORT=8000  MODEL=directory or hub id  REVISION=of a hub id"
	@echo "            PYTHON=interpreter that creates .venv  TORCH_INDEX_URL=additional index for torch"

run: $(INSTALLED) ## Serve on 127.0.0.1:8000 (PORT=, MODEL=, REVISION=)
	@exec $(BIN)/kosmos2 serve $(if $(PORT),--port "$(PORT)") \
		$(if $(MODEL),--model "$(MODEL)") $(if $(REVISION),--revision "$(REVISION)")

demo: $(INSTALLED) ## Start the service, send a picture to every task, print the answers, stop
	@$(BIN)/kosmos2 demo

# tests/clients has its own target, because its tests need browsers, proxies and other languages.
PYTEST := $(BIN)/pytest --ignore=tests/clients
# Tests spend half of their time waiting for services, so two processes halve the run. More would
# compete for the processor, and each process starts its own services.
# The order of the files is that of `tests/conftest.py`.
IN_PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# Both processes compute with as many threads as there are processors. A thread that waits for the
# others must sleep, not spin: spinning made `generate` ten times as slow on two busy processors.
test test-fast test-clients test-large: export OMP_WAIT_POLICY := passive
# Tests start hundreds of processes. Some images set this variable, and each process would compile
# all modules again.
test test-fast test-clients test-large: export PYTHONDONTWRITEBYTECODE :=

test: $(INSTALLED) ## Run all tests except the large ones; takes about 12 minutes on two cores
	@$(PYTEST) $(IN_PARALLEL) -m "not large and not weights"

test-fast: $(INSTALLED) ## Run the quick tests that start no process; takes a minute
	@$(PYTEST) $(IN_PARALLEL) --hypothesis-profile=quick -m "not large and not weights and not processes and not slow"

test-clients: $(INSTALLED) ## Run the tests with real clients and proxies: browsers, other languages
	@$(call install-extra,clients)
	@$(BIN)/pytest tests/clients

# With KOSMOS2_WEIGHTS, a run without any test of the weights fails: pytest exits with 5 if it selects none.
test-large: $(INSTALLED) ## Run the tests that take minutes; with KOSMOS2_WEIGHTS=directory, also those of the weights
ifdef KOSMOS2_WEIGHTS
	@$(BIN)/kosmos2 verify "$(KOSMOS2_WEIGHTS)" --report build/verify
	@$(PYTEST) -m weights
endif
	@$(PYTEST) -m "large and not weights"

verify: $(INSTALLED) ## Compare a checkpoint with its recorded answers (MODEL=, REVISION=), report in build/verify
	@$(BIN)/kosmos2 verify $(MODEL) $(if $(REVISION),--revision "$(REVISION)") --report build/verify

verified-on: $(INSTALLED) ## Write the table "Verified on" of README.md from results/published
	@$(BIN)/python -m scripts.verified_on

fuzz: $(INSTALLED) ## Send tens of thousands of damaged pictures and requests; count the outcomes
	@$(BIN)/python -m reliability.fuzz --out results/reliability

pictures: $(INSTALLED) ## Compare the picture decoder with independent readers, on files of every format
	@$(BIN)/python -m reliability.pictures --out results/reliability

check: $(INSTALLED) ## Check format, lint, imports, prose and types, and run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.check_prose
	$(BIN)/mypy
	$(MAKE) test

format: $(INSTALLED) ## Format the code and fix the lint errors that ruff can fix
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

demo-model: $(INSTALLED) ## Train the embedded checkpoint from scratch into app/demo, and measure it
	@$(BIN)/python -m training.build --out app/demo
	@$(MAKE) calibrate
	@$(BIN)/kosmos2 verify app/demo --record
	@$(MAKE) eval

calibrate: $(INSTALLED) ## Measure how to read the embedded checkpoint's probabilities, into its calibration file
	@$(BIN)/python -m training.calibrate --checkpoint app/demo

eval: $(INSTALLED) ## Measure the quality of the embedded checkpoint on 1000 new scenes
	@$(BIN)/python -m training.evaluate --checkpoint app/demo --scenes 1000
	@$(BIN)/python -m training.evaluate_confidence --checkpoint app/demo --scenes 1000

bench: $(INSTALLED) ## Compare this service with other servers, into results/benchmarks; takes hours
	@$(call install-extra,bench)
	@$(BIN)/python -m benchmarks

chaos: $(INSTALLED) ## Inject faults into a loaded service for ten minutes; account for every request
	@$(BIN)/python -m reliability.chaos --out results/reliability

overload: $(INSTALLED) ## Send one, two and three times the capacity, to one door and to all; takes eight minutes
	@$(BIN)/python -m reliability.overload --out results/reliability

soak: $(INSTALLED) ## Load a service for half an hour; measure memory and descriptors
	@$(BIN)/python -m reliability.soak --out results/reliability

keys: $(INSTALLED) ## Try to use the service without a key, by every path, method and header
	@$(BIN)/python -m reliability.keys --out results/reliability

reliability: $(INSTALLED) ## Run soak, chaos, overload, fuzz, keys and audit; write docs/reliability.md; takes an hour
	@$(call install-extra,audit)
	@$(BIN)/python -m reliability

image-check: $(INSTALLED) ## Build the container image with buildah, run it, send it a request; needs root (HEIC=1)
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" $(BIN)/python -m scripts.image_check

dashboard: $(INSTALLED) ## Run two replicas, HAProxy and Prometheus, and draw the dashboard
	@$(BIN)/python -m scripts.draw_dashboard docs/images/dashboard.png

screenshots: $(INSTALLED) ## Draw the pictures of the playground in docs/images, with Chromium
	@$(call install-extra,clients)
	@$(BIN)/python -m scripts.draw_playground

audit: $(INSTALLED) ## Look up known vulnerabilities of every pinned package, and lint for security
	@$(call install-extra,audit)
	@$(BIN)/python -m reliability.audit --out results/reliability

sbom: $(INSTALLED) ## Write the installed packages, with versions and licenses, to build/sbom.json (CycloneDX)
	@$(call install-extra,audit)
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json .venv

openapi: $(INSTALLED) ## Write docs/openapi.json from the routes
	@$(BIN)/python -m app.http.openapi_document > docs/openapi.json

javascript: ## Write the types of clients/javascript, and copy its modules into the playground; needs npm
	@cd clients/javascript && npm ci --silent --no-audit --no-fund && npm run --silent types
	@rm -rf app/playground/client && cp -R clients/javascript/src app/playground/client

settings: $(INSTALLED) ## Write docs/settings.md from app/settings.py
	@$(BIN)/python -m scripts.settings_page > docs/settings.tmp && mv docs/settings.tmp docs/settings.md

errors: $(INSTALLED) ## Write docs/errors.md from the answers of running services
	@$(BIN)/python -m scripts.error_table > docs/errors.tmp && mv docs/errors.tmp docs/errors.md

hooks: $(INSTALLED) ## Install git hooks: format before each commit, check before each push
	@$(BIN)/pre-commit install

clean: ## Remove .venv and all caches
	@rm -rf .venv .cache build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml clients/python/pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { python=$$(scripts/find-python "$(PYTHON)") && "$$python" -m venv .venv; }
	@echo "Installing into .venv. The first time this downloads torch and takes minutes."
	@$(BIN)/pip install -qq --disable-pip-version-check \
		$(if $(TORCH_INDEX_URL),--extra-index-url "$(TORCH_INDEX_URL)") \
		--constraint constraints.txt --editable clients/python --editable ".[dev,tracing]"
	@touch $@
