"""`tympan convert SRC DST`: any checkpoint in a format that other programs load."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tympan.apps.cli.console import Console, one_line
from tympan.apps.cli.parser import Parser
from tympan.errors import OptionError

USAGE = "tympan convert [OPTION]... SRC DST"

DESCRIPTION = """\
Write the checkpoint SRC at DST in another format. DST is there only when it is whole.

  tympan convert small.pt whisper-small               OpenAI's file, for transformers
  tympan convert base whisper-base --dtype float32    a model by its name
  tympan convert my-fine-tune mine.pt --to openai     for openai-whisper
  tympan convert my-fine-tune ct2 --to ctranslate2 --dtype int8_float16    for faster-whisper
  tympan convert base base.bin --to ggml --dtype q5_0                      for whisper.cpp
  tympan convert base whisper-base-mlx --to mlx --dtype 4bit               for mlx-whisper

SRC is a .pt, a ggml file, a folder of Hugging Face, CTranslate2, MLX or PEFT, a name such as base, or
owner/name of the Hub. A killed program may leave .DST.tympan-unfinished-... beside DST, which may be
removed."""

FORMATS = ("hf", "openai", "ctranslate2", "ggml", "mlx")
DTYPES = (
    "float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16",
    "q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "8bit", "4bit",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One call of `tympan convert`. Weights become `dtype`, or stay as stored (None)."""

    source: str
    place: Path
    target: str
    dtype: str | None
    tokenizer: bool
    force: bool
    offline: bool


def convert(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Do what `words` ask for; the exit code is 0.

    Raises TympanError when the source cannot be had or DST cannot be written; then nothing is left.
    """
    conversion = read_conversion(words, prog=prog)
    with console.warnings_about(conversion.source), _disk_faults_named(conversion.place):
        label = _convert(conversion, console)
    console.say(one_line(f"wrote {conversion.place}: {label}, {_size(conversion.place)}"))
    return 0


def read_conversion(words: Sequence[str], *, prog: str) -> Conversion:
    """The conversion that `words` spell; raises OptionError for one that cannot be made."""
    given = _parser(prog).parse(words)
    if len(given.places) != 2:
        raise OptionError(f"expected SRC and DST, but got {len(given.places)} names; see {prog} --help")
    return Conversion(
        source=given.places[0],
        place=Path(given.places[1]),
        target=given.to,
        dtype=given.dtype,
        tokenizer=given.tokenizer,
        force=given.force,
        offline=given.offline,
    )


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="SRC DST", help=argparse.SUPPRESS)
    parser.add_argument("--to", choices=FORMATS, default="hf", help=f"{', '.join(FORMATS)} (default: hf)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        metavar="DTYPE",
        help="numbers of the weights: float32, float16 or bfloat16; for ctranslate2 also int8, int8_float16 "
        "or int8_bfloat16; for ggml q8_0, q5_0, q5_1, q4_0 or q4_1; for mlx 8bit or 4bit (default: as "
        "stored; for ggml float16)",
    )
    _add_switch(parser, "--tokenizer", "of hf: also the tokenizer and the features' settings", default=True)
    _add_switch(parser, "--force", "replace a file, or files in a folder that is not empty", default=False)
    _add_switch(parser, "--offline", "never use the network", default=False)
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _add_switch(parser: Parser, name: str, does: str, *, default: bool) -> None:
    help_text = f"{does} (default: {'on' if default else 'off'})"
    parser.add_argument(name, action=argparse.BooleanOptionalAction, default=default, help=help_text)


def _convert(conversion: Conversion, console: Console) -> str:
    """Write what is asked for, with a display on a terminal; what the format's result is called."""
    from tympan.adapters.checkpoints.convert import TARGETS, convert_checkpoint

    with console.byte_progress(conversion.place.name, is_shown=sys.stderr.isatty()) as on_progress:
        convert_checkpoint(
            conversion.source,
            conversion.place,
            to=conversion.target,
            dtype=conversion.dtype,
            force=conversion.force,
            tokenizer=conversion.tokenizer,
            offline=conversion.offline,
            on_progress=on_progress,
        )
    return TARGETS[conversion.target].label


@contextmanager
def _disk_faults_named(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if not fault.strerror:
            raise
        where = f" ({fault.filename})" if fault.filename else ""
        raise OptionError(f"{place} cannot be written: {fault.strerror}{where}") from fault


def _size(place: Path) -> str:
    if place.is_file():
        return f"{place.stat().st_size / 1e6:.1f} MB"
    n_bytes = [path.stat().st_size for path in place.iterdir() if path.is_file()]
    return f"{len(n_bytes)} files, {sum(n_bytes) / 1e6:.1f} MB"
