"""Any Whisper checkpoint, an OpenAI `.pt` above all -> a Hugging Face folder that transformers loads.

    python -m tympan.adapters.checkpoints.convert_openai \
        --checkpoint_path small.pt --pytorch_dump_folder_path whisper-small --convert_preprocessor True

The options are those of the script of this name in transformers; `--dtype` and `--force` come on top. The
checkpoint may be anything that `tympan.load_model` takes, but nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tympan.adapters.checkpoints.convert import FLOATS, convert_checkpoint
from tympan.adapters.checkpoints.names import KNOWN_MODELS
from tympan.adapters.checkpoints.openai_cache import openai_cache
from tympan.errors import CheckpointError, TympanError

_EXIT_FAULT_OF_THE_USER = 2


def convert_openai(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    convert_preprocessor: bool = True,
    dtype: str | None = None,
    force: bool = False,
) -> Path:
    """Write the checkpoint `source` as the Hugging Face folder `folder`, and return its path.

    `source` is a `.pt`, any other checkpoint, or a name that is found on this machine, in openai-whisper's
    cache (`~/.cache/whisper`) too; nothing is downloaded. The folder holds `config.json`,
    `generation_config.json` and `model.safetensors`, and with `convert_preprocessor` the tokenizer's files,
    `preprocessor_config.json` and `normalizer.json`. Weights stay of the dtype stored, or become "float32",
    "float16" or "bfloat16". Everything is written beside the folder first, and the folder is there only when
    it is whole. One that has anything in it is left alone; with `force` its files of the same names are
    replaced, older weights removed, and others kept.
    Raises CheckpointError when the source cannot be had, OptionError for an unusable folder or dtype.
    """
    try:
        return convert_checkpoint(
            source, folder, to="hf", dtype=dtype, force=force, tokenizer=convert_preprocessor, offline=True
        )
    except CheckpointError as fault:
        name = os.fspath(source)
        if name not in KNOWN_MODELS or Path(name).exists():
            raise
        raise CheckpointError(
            f"{fault}\nNothing is downloaded here, not even from OpenAI's server. Pass the path of the "
            f"model's .pt (openai-whisper leaves it at {openai_cache() / name}.pt), or use "
            f"{KNOWN_MODELS[name]} of the Hub, which needs no conversion."
        ) from fault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tympan.adapters.checkpoints.convert_openai",
        description="Convert a Whisper checkpoint of OpenAI's to a Hugging Face folder.",
    )
    parser.add_argument("--checkpoint_path", required=True, help="a .pt, or a name such as base")
    parser.add_argument("--pytorch_dump_folder_path", required=True, help="the folder to write")
    parser.add_argument(
        "--convert_preprocessor",
        type=_boolean,
        default=False,
        metavar="True|False",
        help="also write the files of the tokenizer and the feature extractor (default: False)",
    )
    parser.add_argument("--dtype", choices=FLOATS, help="the type of the weights (default: as stored)")
    parser.add_argument("--force", action="store_true", help="replace files in a folder that is not empty")
    return parser


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "y"):
        return True
    if text.lower() in ("false", "0", "no", "n"):
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, but got {text!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0, or 2 when what was asked for cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        folder = convert_openai(
            options.checkpoint_path,
            options.pytorch_dump_folder_path,
            convert_preprocessor=options.convert_preprocessor,
            dtype=options.dtype,
            force=options.force,
        )
    except TympanError as fault:
        sys.stderr.write(f"error: {fault}\n")
        return _EXIT_FAULT_OF_THE_USER
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
