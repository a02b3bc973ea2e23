"""Damaged checkpoints loaded one after the other: each loads, or is refused by name, and nothing else."""

from __future__ import annotations

import os
import resource
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from mutations import mutations

from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning

LARGEST_GROWTH_BYTES = 256 << 20
LONGEST_MESSAGE = 2000

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"


def tiny_architecture(width=2, **changes):
    """A Whisper of a few hundred numbers, all but its embedding."""
    numbers = {
        "vocab_size": 270, "num_mel_bins": 3, "d_model": width, "encoder_layers": 1,
        "encoder_attention_heads": 1, "encoder_ffn_dim": 4 * width, "decoder_layers": 1,
        "decoder_attention_heads": 1, "decoder_ffn_dim": 4 * width, "max_source_positions": 5,
        "max_target_positions": 7,
    }  # fmt: skip
    return Architecture(**(numbers | changes))


def count_refused(damaged_file, n_mutations, seed, *, load=None):
    """How many of `n_mutations` of `damaged_file` are refused when `load` (its folder) loads them.

    The test fails when one raises anything but a CheckpointError of a usual length that names a file of the
    folder, when one warns of anything but as tympan does, leaves a file behind, or takes memory without
    bound. The file is whole again afterwards.
    """
    whole, load = damaged_file.read_bytes(), load or damaged_file.parent
    folder, n_refused = damaged_file.parent, 0
    names, memory = sorted(path.name for path in folder.iterdir()), PeakMemory()
    with _elsewhere(folder), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", TympanWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # Python shows none of a library's either
        for number, damaged in enumerate(mutations(whole, n_mutations, seed)):
            damaged_file.write_bytes(damaged)
            what = f"mutation {number} of {damaged_file.name}"
            n_refused += _is_refused(load, names, what)
            if caught:
                pytest.fail(f"{what} warns: {caught[0].category.__name__}: {caught[0].message}")
    damaged_file.write_bytes(whole)
    assert sorted(path.name for path in folder.iterdir()) == names
    assert memory.growth_bytes < LARGEST_GROWTH_BYTES
    return n_refused


def _is_refused(path, names, what):
    """Whether the checkpoint at `path` is refused as it should be; fails the test for anything else."""
    try:
        checkpoint = load_checkpoint(path, offline=True)
    except CheckpointError as fault:
        message = str(fault)
        if len(message) > LONGEST_MESSAGE or not any(name in message for name in names):
            pytest.fail(f"{what}: {message}")
        return True
    except BaseException as fault:  # noqa: BLE001, since that is what is looked for
        pytest.fail(f"{what}: {type(fault).__name__}: {fault}")
    assert all(isinstance(tensor, torch.Tensor) for tensor in checkpoint.state.values())
    return False


@contextmanager
def _elsewhere(folder):
    """In an empty folder beside `folder`, which must be empty at the end."""
    here, elsewhere = os.getcwd(), folder.with_name(f"{folder.name}-elsewhere")
    elsewhere.mkdir(exist_ok=True)
    os.chdir(elsewhere)
    try:
        yield
    finally:
        os.chdir(here)
    assert not list(elsewhere.iterdir())


class PeakMemory:
    """How much more memory this process has had, since this object was made, than it had then.

    Where the system cannot begin to count anew, what is taken up to an older peak goes uncounted.
    """

    def __init__(self):
        with suppress(OSError):
            _CLEAR_REFS.write_text(_FORGET_THE_PEAK, encoding="ascii")
        self._before = _peak_bytes()

    @property
    def growth_bytes(self):
        return _peak_bytes() - self._before


def _peak_bytes():
    with suppress(OSError):
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
