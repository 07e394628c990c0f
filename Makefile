# The only entry: `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_VENV := .cache/proto-venv
ARD := 5fa2f5aef790b478319f6a3b43adf4661b0ed0e0
# More than there are cores: most tests wait for something now and then.
WORKERS = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')
IN_PARALLEL = --numprocesses $(WORKERS) --dist worksteal
# The tests start hundreds of processes: none of them compiles what another has.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup proto proto-check docs site proto-go proto-typescript proto-java lint prose types collect peers test test-long test-nightly test-all attacks check demo demo-all \
  serve interop grpcurl buf kubeconform jaeger ard bench profile compare size clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 20

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(PROTO_VENV)/.done: proto/requirements.txt
	$(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement proto/requirements.txt
	@touch $@

setup: $(VENV)/.dev ## Create .venv with everything for development.

proto: $(PROTO_VENV)/.done ## Generate generated/ from proto/a2a.proto, with the pinned generator.
	bash proto/generate.sh $(abspath $(PROTO_VENV)/bin/python)

proto-check: proto ## Fail if generated/ is not what proto/ gives.
	@git diff --exit-code --stat -- generated || { echo "generated/ is stale: run 'make proto' and commit" >&2; exit 1; }

docs: $(VENV)/.dev ## Write the generated pages of docs/ from the package.
	@$(BIN)/python docs/generate.py

site: $(VENV)/.dev ## Build the site of docs/ into .cache/site. A page without a place in it, or a broken link, is an error.
	@$(BIN)/python -m mkdocs build --strict

proto-go: $(PROTO_VENV)/.done ## Generate the stubs of clients/go (needs Go).
	@PROTOC="$(abspath $(PROTO_VENV)/bin/python) -m grpc_tools.protoc" bash clients/go/generate.sh

proto-typescript: ## Generate the stubs of clients/typescript (needs Node.js).
	@npm --prefix clients/typescript ci --silent
	@npm --prefix clients/typescript run --silent generate

proto-java: ## Generate the stubs of clients/java (needs a JDK and Maven).
	@mvn --quiet --batch-mode --file clients/java/pom.xml generate-sources

lint: $(VENV)/.dev ## Check style, formatting and plain English.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python -m tools.prose

prose: $(VENV)/.dev ## Check that the text is plain English (ARGS=docs/agent.md: one page).
	@$(BIN)/python -m tools.prose $(ARGS)

types: $(VENV)/.dev ## Check types.
	$(BIN)/mypy

collect: $(VENV)/.dev ## Import all tests, which compiles them: otherwise each process of `make test` does so at its start.
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null || $(BIN)/python -m pytest --collect-only --quiet

test: $(VENV)/.dev ## Run the tests, in their quick forms, in about five minutes (ARGS='tests/cli -k help': some of them).
	TESTS_FORK=1 $(BIN)/python -m pytest $(or $(ARGS),--durations 25 $(IN_PARALLEL))

FULLY := TESTS_FORK=again PROPERTY_EXAMPLES=50 FUZZ_EXAMPLES=100
# Tests that measure how long good calls take during an attack run alone: nothing else runs at the same time.
MEASURED = alone and (long or few)
ALONE = TESTS_ALONE=1 TESTS_FORK=again $(BIN)/python -m pytest -m '$(MEASURED)'

test-all: $(VENV)/.dev ## Run all tests, each once: those of `make test` and of `make test-long` at the same time.
	$(FULLY) $(BIN)/python -m pytest -m 'not ($(MEASURED))' --durations 50 $(IN_PARALLEL)
	$(ALONE) --durations 25 --timeout 300

test-long: $(VENV)/.dev ## Run what takes long: every store, full attacks, silence, crashes, simulations, environments.
	$(FULLY) $(BIN)/python -m pytest -m '(long or hypothesis) and not alone' --durations 50 $(IN_PARALLEL)
	$(ALONE) --durations 25 --timeout 300

test-nightly: $(VENV)/.dev bin/jaeger ## Run the longest forms: ten minutes of silence and of idle agents, 100 crashes and kills, 20,000 simulations and hostile answers.
	SILENCE_S=600 $(BIN)/python -m pytest -m long tests/regressions/test_q01_q02_silence.py --timeout 900 $(ARGS)
	ATTACHED_S=600 $(BIN)/python -m pytest -m long tests/sentinel/test_behind_proxies.py --numprocesses 2 $(ARGS)
	SILENT_S=600 $(BIN)/python -m pytest -m long tests/deploy/test_silence_through_proxies.py --numprocesses 3 -rP $(ARGS)
	ATTACKS_SECONDS=5 $(ALONE) --timeout 600 $(ARGS)
	PUSH_KILLS=100 PUSH_TASKS=2000 $(BIN)/python -m pytest -m long tests/push/test_kills.py --timeout 1800 $(ARGS)
	TRACED_STREAMS=10000 $(BIN)/python -m pytest -m long tests/telemetry/test_traces.py $(ARGS)
	ROLLING_SENDS=1000 $(BIN)/python -m pytest -m long tests/deploy/test_rolling_restart.py $(ARGS)
	CRASH_ROUNDS=100 REPLICA_SECONDS=60 $(BIN)/python -m pytest -m long tests/crash --timeout 1200 $(ARGS)
	PROPERTY_EXAMPLES=1000 $(BIN)/python -m pytest -m hypothesis --timeout 3600 $(IN_PARALLEL) $(ARGS)
	FUZZ_EXAMPLES=20000 $(BIN)/python -m pytest -m hypothesis tests/client/test_fuzz.py --timeout 3600 $(ARGS)
	$(BIN)/python -m pytest -m long tests/telemetry/test_jaeger.py -rs $(ARGS)
	SIMULATION_SEEDS=20000 $(BIN)/python -m pytest -m long tests/simulation --timeout 3600 $(ARGS)

attacks: $(VENV)/.dev ## Measure what attacks cost, beside bare grpc.aio: the table of docs/security.md.
	@$(BIN)/python benchmarks/attacks.py $(ARGS)

peers: $(VENV)/.dev $(PROTO_VENV)/.done # the programs of other languages for `make interop`
	@$(BIN)/python -m tests.interop.peers.build

interop: peers ## Run clients in other languages and the official SDKs against a server, and theirs with our client.
	@$(BIN)/python -m pytest tests/interop/peers --matrix docs/interop.md $(ARGS)

grpcurl: ## Put grpcurl into bin/ (needs Go).
	GOBIN=$(abspath bin) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4

ard: ## Put the conformance script of ARD into .cache/ard (needs git; Apache-2.0, and not part of this repository).
	rm -rf .cache/ard && git init --quiet .cache/ard
	git -C .cache/ard fetch --quiet --depth 1 https://github.com/ards-project/ard-spec $(ARD)
	git -C .cache/ard checkout --quiet FETCH_HEAD

kubeconform: $(BIN)/python ## Put kubeconform into bin/, and the schemas of Kubernetes that it checks with into .cache/ (needs Go).
	GOBIN=$(abspath bin) go install github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest .cache/kubernetes kubernetes-validate==1.37.0
	$(BIN)/python tools/kubernetes_schemas.py .cache/kubernetes .cache/kubernetes/schemas

jaeger: bin/jaeger ## Put Jaeger into bin/, which takes minutes (needs Go). Only `make test-nightly` uses it.

bin/jaeger:
	rm -rf .cache/jaeger && mkdir -p .cache/jaeger bin
	cd .cache/jaeger && go mod init jaeger && go get -tool github.com/jaegertracing/jaeger/cmd/all-in-one@v1.76.0
	go build -C .cache/jaeger -o $(abspath bin)/jaeger github.com/jaegertracing/jaeger/cmd/all-in-one

buf: ## Put buf into bin/ (needs Node.js).
	npm --prefix .cache/buf install --silent --no-audit --no-fund --no-save @bufbuild/buf@1.75.0
	mkdir -p bin && ln -sf ../.cache/buf/node_modules/.bin/buf bin/buf

bench: $(VENV)/.dev ## Measure the speed, beside bare grpc.aio and the official SDK (ARGS=--quick: in a minute).
	@$(BIN)/python benchmarks/bench.py $(ARGS)

size: $(BIN)/python ## Count the lines of code of each package.
	@$(BIN)/python tools/size.py

profile: $(VENV)/.dev ## Draw where the time of a workload goes (WORKLOAD=task): benchmarks/task.svg.
	@$(BIN)/python benchmarks/flame.py $(or $(WORKLOAD),task) $(ARGS)

check: lint types proto-check test ## Check style, types, generated code and the tests.

demo: $(VENV)/.run ## Run a sentinel, an agent and a client that cancels its task half way, as three processes.
	@$(BIN)/python clients/demo.py $(ARGS)

compare: $(VENV)/.run ## Run one job with poll, subscribe and callback, and print what each costs, as measured.
	@$(BIN)/python benchmarks/compare.py $(ARGS)

demo-all: $(VENV)/.run ## Run every program of clients/ against the servers it needs: PASS or FAIL a line.
	@$(BIN)/python clients/demo_all.py

serve: $(VENV)/.run ## Serve an agent: make serve AGENT=servers/translator.py
	$(BIN)/a2a-grpc serve $(if $(filter command line,$(origin AGENT)),$(AGENT),servers/translator.py) $(ARGS)

clean: ## Remove the environments and caches.
	rm -rf $(VENV) .cache bin .mypy_cache .ruff_cache .pytest_cache .hypothesis
