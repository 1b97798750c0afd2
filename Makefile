# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON   ?= python3.11
EMBEDDER ?= vllm
MODEL    ?= minilm
ARGS     ?=
# As few abstracts as calibration can be fitted and judged with on the demo's own log: embedding
# them takes long. One thread: so small a model trains no faster by two. Other logs and devices, named
# in ARGS, get the defaults.
DEMO     := --set training.abstracts_per_user=4 --set training.calibration_steps=2 \
            --set training.validation_steps=1 --set paper.steps=2 --duration 40 \
            --set training.threads=1
# A page of its own on a free port, which ends with the run.
PAGE     := --dashboard 0 --set dashboard.stay=false
OTHERS   := $(filter --log --profile --log=% --profile=%,$(ARGS))
# See scalrec/__main__.py: spinning threads make torch crawl on a busy machine.
export OMP_WAIT_POLICY ?= PASSIVE
RUN      := .venv/bin/python -m
# A file's tests share a worker (tests/support/tiers.py); files in the order of their collection: the
# long ones come first. ARGS=-n0 runs all in one process.
WORKERS  ?= 2
MARKS    ?= not compose
SUITE    := -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25
# Exit code 3: the product is ready, vLLM cannot be had here; the script says why.
INSTALL   = { $(PYTHON_FOUND) scripts/bootstrap.py $(ENVS) || [ $$? -eq 3 ]; }
# Environment only for the vLLM back end; it is a separate one because it pins torch and fastapi.
ENVS     := $(if $(filter vllm,$(EMBEDDER)),all,product)
PYTHON_FOUND := $(shell command -v $(PYTHON) || command -v python3)

.DEFAULT_GOAL := help
.PHONY: help env demo up down docs test test-merge test-all test-compose check bench robustness mutations format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  EMBEDDER=vllm|transformers   MODEL=minilm|smollm2|FOLDER|HUB-ID   ARGS='--users 100'"

env:  ## create or update the environments (product and vLLM)
	@$(INSTALL)

demo:  ## the whole system on a real log: train, serve, replay, report
	@started=$$(date +%s); $(INSTALL) && \
	SCALREC_STARTED_AT=$$started SCALREC_EMBEDDER__BACKEND=$(EMBEDDER) SCALREC_EMBEDDER__MODEL=$(MODEL) \
	exec .venv/bin/scalrec simulate $(PAGE) $(if $(OTHERS),,$(DEMO)) $(ARGS)

up:  ## the whole stack in containers (needs Docker with Compose v2), and where to look
	@$(PYTHON_FOUND) deploy/find_wheels.py
	docker compose up --build --wait $(ARGS)
	@echo "live view  http://127.0.0.1:$${SCALREC_DASHBOARD_PORT:-8090}"
	@echo "API        http://127.0.0.1:$${SCALREC_API_PORT:-8080} (through the fault proxy)"
	@echo "a scenario: docker compose run --rm loadtest periodic-outage"

down:  ## stop the stack; its volumes stay (ARGS=--volumes removes bundle, runs and secrets)
	docker compose --profile '*' down --remove-orphans $(ARGS)

docs:  ## these pages as a site, in build/site, links checked; ARGS=serve shows it
	@$(PYTHON_FOUND) scripts/bootstrap.py docs
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs $(or $(ARGS),build) --strict

test: env  ## the tests to work by: every part, a real vLLM, Redis and sockets; minutes
	@$(RUN) pytest -m "not slow and not compose" --hypothesis-profile=quick $(SUITE) $(ARGS)

test-merge:  ## what a change has to pass before it is merged, with Ray, MLflow, the browser
	@$(MAKE) --no-print-directory test-all MARKS="not compose and not rest"

test-all: env  ## all tests but the stack's: what test-merge runs, in more forms
	@for part in ray mlflow docs; do $(PYTHON_FOUND) scripts/bootstrap.py $$part || exit; done
	@$(RUN) pytest -m "$(MARKS)" $(SUITE) $(ARGS)

test-compose: env  ## only the tests that bring the stack up
	@$(RUN) pytest -m compose $(ARGS)

check:  ## ruff, mypy, import rules
	@$(PYTHON_FOUND) scripts/bootstrap.py product
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	.venv/bin/python -c "from importlinter.cli import lint_imports_command as c; c()"

format:  ## apply ruff's fixes and formatting
	$(RUN) ruff check --fix . ; $(RUN) ruff format .

bench: env  ## ours against the peer or the limit, same run; ARGS='--only device,cloud'
	@$(RUN) benchmarks --embedder $(EMBEDDER) --model $(MODEL) $(ARGS)

robustness: env  ## scenarios x faults x seeds, every history checked; ARGS='--count 1000 --sockets 5'
	@$(RUN) scalrec robustness --embedder $(EMBEDDER) --model $(MODEL) $(ARGS)

mutations: env  ## seeded defects, one at a time: does a test or the checker notice each?
	@$(RUN) tests.mutation $(ARGS)

clean:  ## remove run records, stages and the checkout's environment (the user cache stays)
	rm -rf .venv runs build *.egg-info
