# Two commands matter: `make demo` and `make test`. Both make `.venv` first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-all notebooks lint install tiny-base docs docs-serve docs-quarto bench record

# uv installs in a minute what takes pip four; where uv or its way to the packages is missing, pip does it. uv reads none of pip's
# settings: a folder of wheels that pip was told about, such as a PyTorch without CUDA, is named to it.
install: $(VENV)/.installed

$(VENV)/.installed: constraints.txt settings.ini setup.py
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] >= (3, 10), "ftkit needs Python 3.10 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv \
	  && UV_FIND_LINKS="$$(echo $$PIP_FIND_LINKS | tr ' ' ,)" $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[dev]" \
	  || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
# What takes longest to import is compiled now, and not by every process that comes first.
	unset PYTHONDONTWRITEBYTECODE; PHOENIX_WORKING_DIR=$(abspath $(VENV))/phoenix $(BIN)/python -c 'import gc; gc.disable(); import phoenix.server.main' & \
	  $(BIN)/python -c 'from ftkit.train.run import import_libraries; import_libraries()' && wait
	touch $@

# An embedded Phoenix with sample telemetry, one fine-tuning run, and what came of it.
demo: install
	$(BIN)/ftkit demo

# The project's whole check, as CI runs it.
test: install
	$(BIN)/python tools/check.py

# The same, with the long tests in full.
test-all: install
	$(BIN)/python tools/check.py --all

notebooks: install
	$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python tools/readme.py

lint: install
	$(BIN)/ruff check ftkit tests tools benchmarks docs

# Pre-train the base model that ships with the package again: about an hour and a half on one core.
tiny-base: install
	$(BIN)/python tools/tiny_base.py

# Every figure on the page of benchmarks again; it wants a quiet core and takes long. `BENCH=--smallest` only sees that all of it runs.
bench: install
	for b in training scoring reading machine; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$b.py $(BENCH) || exit 1; done

# The traces under tests/fixtures/traces and the files under tests/fixtures/imports again: real instrumentations and clients against
# a model server of scripted answers on this machine.
# `RECORD="openai_oi haystack_oi"` records only these set-ups, `RECORD=--upgrade` all of them with the newest versions there are.
record: install
	$(BIN)/python tools/record/record.py $(RECORD)

# The site, from the notebooks as they stand: nothing is executed, nothing is fetched.
docs: install
	$(BIN)/python docs/build.py

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs/html $(or $(PORT),8000)

# The same notebooks through nbdev and Quarto, for those who have it: nbdev would install it unasked.
docs-quarto: install
	@command -v quarto >/dev/null || { echo 'quarto is not on the PATH; `make docs` needs none'; exit 1; }
	PATH=$(abspath $(BIN)):$$PATH nbdev_docs
	$(BIN)/python tools/readme.py
