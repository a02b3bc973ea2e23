"""`tympan convert SRC DST`: any checkpoint as a folder that other programs load."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tympan.apps.cli.console import Console, one_line
from tympan.apps.cli.parser import Parser
from tympan.errors import CheckpointError, OptionError

USAGE = "tympan convert [OPTION]... SRC DST"

DESCRIPTION = """\
Write the checkpoint SRC as the folder DST, which is there only when it is whole.

  tympan convert small.pt whisper-small               OpenAI's file, for transformers
  tympan convert base whisper-base --dtype float32    a model by its name

SRC is a .pt, a CTranslate2 or Hugging Face folder, a name such as base, or owner/name of the Hub."""

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One call of `tympan convert`. Weights become `dtype`, or stay as stored (None)."""

    source: str
    folder: Path
    target: str
    dtype: str | None
    tokenizer: bool
    force: bool
    offline: bool


@dataclass(frozen=True)
class Target:
    """A format to convert to: what its result is called, and what writes a conversion's folder."""

    label: str
    write: Callable[[Conversion], Path]


def _write_huggingface(conversion: Conversion) -> Path:
    from tympan.adapters.checkpoints.convert_openai import convert_openai

    return convert_openai(
        conversion.source,
        conversion.folder,
        convert_preprocessor=conversion.tokenizer,
        dtype=conversion.dtype,
        force=conversion.force,
    )


TARGETS: Mapping[str, Target] = {"hf": Target("Hugging Face folder", _write_huggingface)}
"""Every format to convert to, by its name after `--to`."""


def convert(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Do what `words` ask for; the exit code is 0.

    Raises TympanError when the source cannot be had or the folder cannot be written; then nothing is left.
    """
    conversion = read_conversion(words, prog=prog)
    target = TARGETS[conversion.target]
    with console.warnings_about(conversion.source), _nothing_left_of(conversion.folder):
        folder = _with_download(target.write, conversion)
    console.say(one_line(f"wrote {folder}: {target.label}, {_size(folder)}"))
    return 0


def read_conversion(words: Sequence[str], *, prog: str) -> Conversion:
    """The conversion that `words` spell; raises OptionError for one that cannot be made."""
    given = _parser(prog).parse(words)
    if len(given.places) != 2:
        raise OptionError(f"expected SRC and DST, but got {len(given.places)} names; see {prog} --help")
    source, folder = given.places[0], Path(given.places[1])
    if folder.exists() and Path(source).exists() and folder.samefile(source):
        raise OptionError(f"SRC and DST are the same folder: {source}")
    return Conversion(
        source=source,
        folder=folder,
        target=given.to,
        dtype=given.dtype,
        tokenizer=given.tokenizer,
        force=given.force,
        offline=given.offline,
    )


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="SRC DST", help=argparse.SUPPRESS)
    parser.add_argument(
        "--to", choices=tuple(TARGETS), default="hf", help="the format to write (default: hf)"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="numbers of the weights (default: as stored)")
    _add_switch(parser, "--tokenizer", "also write the tokenizer and the features' settings", default=True)
    _add_switch(parser, "--force", "replace files in a folder that is not empty", default=False)
    _add_switch(parser, "--offline", "never use the network", default=False)
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _add_switch(parser: Parser, name: str, does: str, *, default: bool) -> None:
    help_text = f"{does} (default: {'on' if default else 'off'})"
    parser.add_argument(name, action=argparse.BooleanOptionalAction, default=default, help=help_text)


def _with_download(write: Callable[[Conversion], Path], conversion: Conversion) -> Path:
    """What `write` writes; a name that is not on this machine is loaded from the Hub first."""
    try:
        return write(conversion)
    except CheckpointError:
        if conversion.offline or Path(conversion.source).expanduser().exists():
            raise
        from tympan.adapters.checkpoints.resolve import resolve

        resolve(conversion.source)
        return write(conversion)


@contextmanager
def _nothing_left_of(folder: Path) -> Iterator[None]:
    """Take away the folders made above `folder` when it could not be written; OSError -> OptionError."""
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        yield
    except BaseException as fault:
        for parent in new_parents:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(fault, OSError) and fault.strerror:
            where = f" ({fault.filename})" if fault.filename else ""
            raise OptionError(f"{folder} cannot be written: {fault.strerror}{where}") from fault
        raise


def _size(folder: Path) -> str:
    n_bytes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return f"{len(n_bytes)} files, {sum(n_bytes) / 1e6:.1f} MB"
