# `make run` and `make test` do all set-up on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test check lint format score-demo stickers train-stickers benchmark memory docs clean

run: $(VENV)/.runtime
	$(BIN)/python app.py

# The browser alone: beside other tests it was once seen to press a button before a number had arrived. Its first visitors
# share a cache, which holds the page's scripts (tests/app/browser/conftest.py). The rest in two processes of one thread
# each: on two cores half the time of one process, whose threads wait for each other;
# tests/conftest.py sorts the files.
test: $(VENV)/.dev browser
	$(BIN)/python -m pytest tests/app/browser -m "not slow"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not browser and not slow"

check: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -q -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Clips for 240 held-out prompts, about 10 minutes on two cores.
score-demo: $(VENV)/.dev
	$(BIN)/python -m scripts.train_demo.score --processes 2 --card assets/demo/README.md

# The stickers that the embedded model's second edition is trained on, from npm into build/stickers.
stickers: $(VENV)/.dev
	PYTHON=$(BIN)/python scripts/train_stickers/fetch_artwork.sh

# All stages from where they stand, for hours, giving way to everything else; the log is build/stickers/train.log.
train-stickers: stickers
	OMP_NUM_THREADS=1 $$(command -v chrt >/dev/null && echo chrt -i 0) $(BIN)/python -u -m scripts.train_stickers.train \
	  >> build/stickers/train.log 2>&1

benchmark: $(VENV)/.dev
	$(BIN)/python -m scripts.benchmark --docs docs/measurements.md

memory: $(VENV)/.dev
	$(BIN)/python -m scripts.measure_memory

docs: $(VENV)/.dev
	$(BIN)/python -m scripts.api_docs docs/api.md
	$(BIN)/python -m scripts.settings_table README.md
	$(BIN)/python -m scripts.names_table docs/names.md
	$(BIN)/python -m scripts.rooms_table ARCHITECTURE.md

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.runtime

# The browser tests drive Chromium. Where apt and the rights are there it is installed; where not, the
# browser tests skip and say so (and .ci/run fails).
.PHONY: browser
browser:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || { \
	  if command -v apt-get >/dev/null 2>&1; then \
	    SUDO=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); \
	    { $$SUDO apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$SUDO apt-get install -y -qq chromium fonts-noto-core; } >/dev/null \
	      || echo "Chromium could not be installed: the browser tests will be skipped."; \
	  else echo "No Chromium and no apt-get: the browser tests will be skipped."; fi; }
