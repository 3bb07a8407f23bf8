# The targets that people and CI use; CI runs these and nothing else.
# An active virtual environment is used as it is; without one, .venv is made.
VENV   ?= $(or $(VIRTUAL_ENV),.venv)
PYTHON ?= python3
BIN    := $(VENV)/bin
PY     := $(BIN)/python
RUN    := PATH="$(abspath $(BIN)):$$PATH"
TRITON := .triton
TRITON_WHEEL := nvidia-pytriton==0.7.0
FIND_PACKAGES := PYTHONPATH=.:server:protos/python:loadtest

define WRITE_LOCK
import json
print("# Every package of [server,train,triton,bench,deploy,fuzz,dev] on Linux x86-64, CPython 3.11. Written by: make lock")
found = [item["metadata"] for item in json.load(open(".resolved.json"))["install"]]
for item in sorted(found, key=lambda item: item["name"].lower()):
    if item["name"] != "legonn":
        print(item["name"] + "==" + item["version"])
endef
export WRITE_LOCK

.DEFAULT_GOAL := help
.PHONY: test-noise test-clients help setup lock check format test test-browser protos protos-check docs docs-check serve demo loadtest check-deploy check-images rehearse-rollout

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## one command from a clean machine to a working one (5 GB on disk, mostly torch)
	@test -x $(PY) || { echo "==> virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "==> installing legonn with [server,train,triton,dev], pinned by requirements.lock"
	$(PY) -m pip install --disable-pip-version-check -c requirements.lock -e ".[server,train,triton,dev]"
	@echo "==> ready: make demo, make test, or $(BIN)/legonn --help"

lock: ## resolve all dependencies anew and write requirements.lock
	$(PY) -m pip install --quiet --dry-run --ignore-installed --report - \
	    ".[server,train,triton,bench,deploy,fuzz,dev]" > .resolved.json
	$(PY) -c "$$WRITE_LOCK" > requirements.lock
	-@$(FIND_PACKAGES) $(PY) -m deploy.licences --write
	@rm .resolved.json && echo "$$(grep -c == requirements.lock) packages"

check: ## format, ruff, mypy, import contracts, buf lint, protos-check, house tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(FIND_PACKAGES) $(BIN)/lint-imports
	$(RUN) buf lint protos
	$(MAKE) --no-print-directory protos-check docs-check
	$(FIND_PACKAGES) $(PY) -m deploy.licences
	$(PY) -m pytest -q tests/house

format: ## rewrite the sources the way `check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: ## every test that needs no GPU and no Triton
	$(PY) -m pytest --ignore tests/deploy -m "not gpu and not triton and not browser and not chaos"

AXE := axe-core@4.14.1
test-browser: ## the captions page in headless Chromium (installs Debian's, and axe-core, when absent)
	@test -x /usr/bin/chromium -a -x /usr/bin/chromedriver \
	    || { apt-get update -q && apt-get install -qy --no-install-recommends chromium chromium-driver; }
	@test -d build/browser/node_modules/axe-core || npm install --silent --no-save --prefix build/browser $(AXE)
	@test -f build/typescript/dist/browser.js || $(MAKE) --no-print-directory typescript
	$(PY) -m pytest -m browser tests/browser

.PHONY: swap-matrix swap-matrix-synthetic
DATA   ?= ../shared/data
STORE  ?= $(if $(wildcard work/store),work/store,modules)
swap-matrix: ## all encoders under all decoders of STORE with every control, on the dev sets under DATA
	$(BIN)/python -m legonn_core.evaluate swap --every --store $(STORE) --limit 100 --json work/swap-matrix.json \
	    --picture work/swap-matrix.svg --set $(DATA)/text/dev/tatoeba-dev.de-en.tsv:de \
	    --set $(DATA)/text/dev/tatoeba-dev.ro-en.tsv:ro \
	    --set $(DATA)/speech/eval/librispeech_dev_clean_dev

.PHONY: experiment-store
experiment-store: ## work/store: the shipped modules, and room for what experiments package
	mkdir -p work/store && cp -rn modules/. work/store/

swap-matrix-synthetic: ## LegoNN's claims on a made-up language, trained from seeds in two minutes
	OMP_NUM_THREADS=1 $(PY) -m legonn_core.evaluate swap --synthetic

.PHONY: test-hostile
test-hostile: ## attacks of every kind beside live streams, and what those feel of it: OUT=FILE (minutes)
	@mkdir -p work
	OMP_NUM_THREADS=1 $(FIND_PACKAGES) $(PY) -m tests.hostile.run \
	    "$(or $(OUT),work/hostile.json)" $(or $(SECONDS),8)

test-noise: ## ten minutes each of silence, hiss, rumble and music give no words (an hour)
	NOISE_SECONDS=600 $(PY) -m pytest -q tests/simulation/test_noise.py

.PHONY: typescript
typescript: # the TypeScript client, built in build/typescript (needs Node 20 or newer)
	@command -v npm >/dev/null || { echo "the TypeScript client needs Node 20 or newer"; exit 1; }
	rm -rf build/typescript && mkdir -p build && cp -r protos/typescript build/typescript
	cd build/typescript && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

test-clients: typescript ## build, pack and test the TypeScript client against real servers
	$(PY) build/typescript/generate.py --check --protos protos
	cd build/typescript && PYTHON_FOR_TESTS="$(abspath $(PY))" npm test
	cd build/typescript && npm pack --loglevel=error
	$(PY) -m pytest -q tests/e2e/test_grpcurl.py

protos: ## write the stubs of protos/legonn/v1
	$(PY) protos/generate.py

protos-check: ## fail if the committed stubs are not what the protos give
	$(PY) protos/generate.py --check

docs: ## write docs/metrics.md and docs/behaviour.md from the code
	$(FIND_PACKAGES) $(PY) -m legonn_server.telemetry.reference
	$(FIND_PACKAGES) $(PY) -m legonn_server.config.reference

docs-check: ## fail if docs/metrics.md or docs/behaviour.md is not what the code gives
	$(FIND_PACKAGES) $(PY) -m legonn_server.telemetry.reference --check
	$(FIND_PACKAGES) $(PY) -m legonn_server.config.reference --check

serve: ## start the server on 127.0.0.1:50051 with ./modules
	$(BIN)/legonn serve

loadtest: ## play loadtest/scenarios/$(SCENARIO).toml against a server of its own; work/load gets the result
	@mkdir -p work/load
	$(RUN) $(BIN)/legonn bench load loadtest/scenarios/$(or $(SCENARIO),steady).toml \
	    --serve $(or $(BACKEND),fake) --json work/load/$(or $(SCENARIO),steady).json \
	    --html work/load/$(or $(SCENARIO),steady).html

# Debian's package, unpacked; nothing is installed or started.
TOOLS := build/tools

check-deploy: ## Kubernetes manifests, alerts, dashboards and Dockerfile, with the real tools
	@$(PY) -c "import kubernetes_validate, yaml" 2> /dev/null || \
	    $(PY) -m pip install --quiet -c requirements.lock -e ".[server,train,dev,deploy]"
	deploy/prometheus/get $(TOOLS)
	$(BIN)/hadolint --config .hadolint.yaml Dockerfile
	cd deploy/prometheus && ../../$(TOOLS)/promtool check config prometheus.yml
	cd deploy/prometheus && ../../$(TOOLS)/promtool test rules rules_test.yml
	$(PY) -m deploy.grafana.dashboards --check
	PATH="$(abspath $(TOOLS)):$(abspath $(BIN)):$$PATH" $(PY) -m pytest -q -m deploy tests/deploy

rehearse-rollout: ## restart two gateways in turn behind Envoy under live streams; no word may be lost
	$(FIND_PACKAGES) $(PY) -m deploy.rehearsal.rollout

IMAGES ?= gateway all-in-one
EXTRAS_gateway := gateway,triton,tracing
EXTRAS_all-in-one := server,tracing

check-images: ## what the Dockerfile's stages do, in clean virtual environments (a few GB, minutes)
	rm -rf build/images
	mkdir -p build/images
	$(foreach one,$(IMAGES),deploy/images/install $(EXTRAS_$(one)) build/images/$(one) &&) true
# The wheel is a carrier of the server's binaries; it is never imported, so it needs no other package.
$(TRITON)/.installed: Makefile
	@echo "==> the Triton server into $(TRITON) (150 MB) and its client"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	    --target $(TRITON) $(TRITON_WHEEL)
	@$(PY) -c "import tritonclient.grpc" 2>/dev/null || \
	    $(PY) -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[triton]"
	@touch $@

.PHONY: triton test-triton
triton: $(TRITON)/.installed ## install a Triton server into .triton and start it on ./modules
	@$(PY) -m deploy.triton.run

test-triton: $(TRITON)/.installed ## contract, swap, chaos and scrape suites on real Triton servers
	deploy/prometheus/get $(TOOLS)
	PATH="$(abspath $(TOOLS)):$$PATH" TRITON_REQUIRED=1 $(PY) -m pytest -m triton --timeout 300 \
	    tests/contract tests/chaos tests/deploy/test_prometheus_triton.py

.PHONY: chaos-triton
chaos-triton: $(TRITON)/.installed ## faults in rounds and swaps in a row on Triton: [ROUNDS=20 SWAPS=50 SEED=N]
	TRITON_REQUIRED=1 ROUNDS=$(or $(ROUNDS),20) SWAPS=$(or $(SWAPS),50) SEED=$(or $(SEED),0) \
	    $(PY) -m pytest -s -m triton tests/chaos/test_triton_faults.py tests/chaos/test_triton_swap.py

demo: ## start a server, caption a recording live, translate two sentences, leave
	$(RUN) $(PY) -m legonn_server.demo

.PHONY: bench-decoder bench-pool
bench-decoder: ## decoder engine beside CTranslate2, in turn: make bench-decoder OUT=FILE (minutes)
	@test -n "$(OUT)" || { echo "say where to write: make bench-decoder OUT=FILE"; exit 2; }
	@$(PY) -c "import ctranslate2" || { echo 'install it: $(PY) -m pip install -e ".[bench]"'; exit 2; }
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.decoder "$(OUT)"

bench-pool: ## continuous against static batching, live finals beside bulk text: OUT=FILE (minutes)
	@test -n "$(OUT)" || { echo "say where to write: make bench-pool OUT=FILE"; exit 2; }
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.pool "$(OUT)"

.PHONY: bench-gateway
bench-gateway: ## one gateway on one core with 100 to 400 paced streams: make bench-gateway OUT=FILE
	@test -n "$(OUT)" || { echo "say where to write: make bench-gateway OUT=FILE"; exit 2; }
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.gateway "$(OUT)" --server-cpus 1

.PHONY: bench-swap
bench-swap: ## p99 of partials during swaps over that before: OUT=FILE [BACKEND=triton MODULE=decoder-en]
	@test -n "$(OUT)" || { echo "say where to write: make bench-swap OUT=FILE"; exit 2; }
	@test "$(BACKEND)" != triton || $(MAKE) --no-print-directory $(TRITON)/.installed
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.swap "$(OUT)" --backend $(or $(BACKEND),embedded) \
	    --module $(or $(MODULE),speech-en) --streams $(or $(STREAMS),2) --swaps $(or $(SWAPS),2)

.PHONY: chaos
chaos: ## swaps, kills and hangs of a real engine under streams, fifty swaps in a row (minutes)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m chaos tests/chaos

.PHONY: fuzz
SECONDS ?= 60
PROCESSES ?= 1
fuzz: ## feed every door with anything for SECONDS=N; inputs that break one go to work/fuzz
	@$(PY) -c "import atheris" 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check -c requirements.lock atheris
	@mkdir -p work/fuzz
	$(FIND_PACKAGES) OMP_NUM_THREADS=1 $(PY) -m tests.fuzz.run --seconds $(SECONDS) \
	    --processes $(PROCESSES) --json work/fuzz/latest.json
	SEQUENCES=$$(($(SECONDS) / 2 + 1)) $(PY) -m pytest -q tests/property/test_gateway_machine.py

.PHONY: rehearse-loss
rehearse-loss: ## kill gateways until STREAMS=200 live streams have gone on elsewhere; none loses a word
	@mkdir -p work/load
	$(FIND_PACKAGES) OMP_NUM_THREADS=1 $(PY) -m deploy.rehearsal.losses \
	    --streams $(or $(STREAMS),200) --json work/load/losses.json

.PHONY: soak
soak: ## a server under churn, swaps, kills and slow readers for MINUTES=60: slopes of what may grow
	@mkdir -p work/load
	$(FIND_PACKAGES) OMP_NUM_THREADS=1 $(PY) -m deploy.rehearsal.soak \
	    --minutes $(or $(MINUTES),60) --json work/load/soak.json $(SOAK)

.PHONY: audit
audit: ## look for known vulnerabilities of requirements.lock; offline it says that it did not
	@$(PY) -c "import pip_audit" 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@if $(PY) -c "import socket; socket.create_connection(('pypi.org', 443), 5).close()" 2>/dev/null; \
	then $(PY) -m pip_audit --disable-pip --no-deps -r requirements.lock; \
	else echo "NOT AUDITED: the advisory service cannot be reached, so nothing was looked for."; \
	    echo "Run make audit where pypi.org can be reached; AUDIT_REQUIRED=1 makes this fail."; \
	    exit $${AUDIT_REQUIRED:-0}; fi
