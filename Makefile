# What one does with this project: `make help` lists it. For GNU make 3.81 (macOS) and later.

# Given on the command line: make run PORT=9000
PORT =
MODEL =
REVISION =
PYTHON =
TORCH_INDEX_URL =

BIN := .venv/bin
# As old as the last installation, so that nothing is installed again when nothing changed.
INSTALLED := .venv/.installed

install-extra = $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt \
	--editable ".[dev,$(1)]"

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-clients test-large fuzz pictures check format demo-model eval bench chaos overload soak \
	keys reliability image-check dashboard audit sbom openapi errors settings hooks clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables:  PORT=8000  MODEL=directory or hub id  REVISION=of a hub id"
	@echo "            PYTHON=the interpreter that makes .venv  TORCH_INDEX_URL=another index for torch"

run: $(INSTALLED) ## Serve on 127.0.0.1:8000 (PORT=, MODEL=, REVISION=)
	@exec $(BIN)/kosmos2 serve $(if $(PORT),--port "$(PORT)") \
		$(if $(MODEL),--model "$(MODEL)") $(if $(REVISION),--revision "$(REVISION)")

demo: $(INSTALLED) ## Serve, send a scene through every task, print the answers, stop
	@$(BIN)/kosmos2 demo

# tests/clients has targets of its own: its tests need browsers and other languages.
PYTEST := $(BIN)/pytest --ignore=tests/clients
# Two processes, a file in one of them: half of the time tests wait for services. More would compete
# for the processor, and each starts services of its own.
IN_PARALLEL := --numprocesses 2 --dist loadfile

test: $(INSTALLED) ## Run all tests but the large ones; takes a quarter of an hour at most
	@$(PYTEST) $(IN_PARALLEL) -m "not large and not weights"

test-fast: $(INSTALLED) ## Run the tests that start no process; takes a minute
	@$(PYTEST) $(IN_PARALLEL) -m "not large and not weights and not processes"

# pytest exits with 5 when it collects no test.
test-clients: $(INSTALLED) ## Run the tests with foreign clients: browsers, other languages
	@$(BIN)/pytest tests/clients || { code=$$?; [ $$code = 5 ] && echo "no tests yet" || exit $$code; }

test-large: $(INSTALLED) ## Run the tests that take minutes, and those on the published weights
	@$(PYTEST) -m "large or weights"

fuzz: $(INSTALLED) ## Send damaged pictures and requests, tens of thousands of them; count what came of each
	@$(BIN)/python -m reliability.fuzz --out results/reliability

pictures: $(INSTALLED) ## Read files of every kind with the decoder and with independent readers; count
	@$(BIN)/python -m reliability.pictures --out results/reliability

check: $(INSTALLED) ## Check format, lint, imports, prose and types, and run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.check_prose
	$(BIN)/mypy
	$(MAKE) test

format: $(INSTALLED) ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

demo-model: $(INSTALLED) ## Train the embedded checkpoint again, into app/demo, and measure it
	@$(BIN)/python -m training.build --out app/demo
	@$(MAKE) eval

eval: $(INSTALLED) ## Measure the embedded checkpoint on 1000 new scenes
	@$(BIN)/python -m training.evaluate --checkpoint app/demo --scenes 1000

bench: $(INSTALLED) ## Measure this service beside others, into results/benchmarks; takes hours
	@$(call install-extra,bench)
	@$(BIN)/python -m benchmarks

chaos: $(INSTALLED) ## Break a loaded service for ten minutes, account for every request
	@$(BIN)/python -m reliability.chaos --out results/reliability

overload: $(INSTALLED) ## Offer once, twice, three times the capacity; takes four minutes
	@$(BIN)/python -m reliability.overload --out results/reliability

soak: $(INSTALLED) ## Load a service for half an hour, watch its memory
	@$(BIN)/python -m reliability.soak --out results/reliability

keys: $(INSTALLED) ## Try to get in without a key, by every path, method and header
	@$(BIN)/python -m reliability.keys --out results/reliability

reliability: $(INSTALLED) ## Run soak, chaos, overload, fuzz, keys and audit; write docs/reliability.md; an hour
	@$(call install-extra,audit)
	@$(BIN)/python -m reliability

image-check: $(INSTALLED) ## Build the container image with buildah, run it, ask it something; needs root
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" $(BIN)/python -m scripts.image_check

dashboard: $(INSTALLED) ## Draw the dashboard from a run of two replicas, HAProxy and Prometheus
	@$(BIN)/python -m scripts.draw_dashboard docs/images/dashboard.png

audit: $(INSTALLED) ## Ask PyPI for known flaws of every pinned package, and lint for security
	@$(call install-extra,audit)
	@$(BIN)/python -m reliability.audit --out results/reliability

sbom: $(INSTALLED) ## Write what is installed, with versions and licenses, to build/sbom.json (CycloneDX)
	@$(call install-extra,audit)
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json .venv

openapi: $(INSTALLED) ## Write the description of the HTTP contract to docs/openapi.json
	@$(BIN)/python -m app.http.openapi_document > docs/openapi.json

settings: $(INSTALLED) ## Write docs/settings.md from app/settings.py
	@$(BIN)/python -m scripts.settings_page > docs/settings.tmp && mv docs/settings.tmp docs/settings.md

errors: $(INSTALLED) ## Write docs/errors.md from the answers of running services
	@$(BIN)/python -m scripts.error_table > docs/errors.tmp && mv docs/errors.tmp docs/errors.md

hooks: $(INSTALLED) ## Format before each commit, check before each push
	@$(BIN)/pre-commit install

clean: ## Remove the environment and all caches
	@rm -rf .venv .cache build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { python=$$(scripts/find-python "$(PYTHON)") && "$$python" -m venv .venv; }
	@echo "Installing into .venv; the first time this downloads torch and takes minutes."
	@$(BIN)/pip install -qq --disable-pip-version-check \
		$(if $(TORCH_INDEX_URL),--extra-index-url "$(TORCH_INDEX_URL)") \
		--constraint constraints.txt --editable ".[dev,tracing]"
	@touch $@
