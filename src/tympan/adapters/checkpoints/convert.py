"""Any Whisper checkpoint -> the same model in another format.

    convert_checkpoint("base", "whisper-base", to="hf")
    convert_checkpoint("whisper-base", "base.pt", to="openai", dtype="float16")

What is written is written beside its place first, and is in its place only when it is whole.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads
from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.layout import is_weight_file
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.progress import OnProgress
from tympan.adapters.checkpoints.staging import put_in_place, staged
from tympan.adapters.checkpoints.weight_files import OPENAI_SUFFIXES
from tympan.errors import OptionError

FLOATS = ("float32", "float16", "bfloat16")

Writer = Callable[..., None]
"""`write(checkpoint, path, *, dtype, on_progress=None)`: writes a new file, or into a new folder."""


@dataclass(frozen=True)
class Target:
    """A format to convert to.

    `label` is what its result is called, `home` what writes it, as `module:function`, which is imported when
    it is meant. `dtypes` are those that it can hold; a file has one of the `suffixes`, if there are any. With
    `tokenizer_is_optional` the writer also takes `tokenizer`. `usual_dtype` is what weights become that it
    cannot hold as they are stored.
    """

    label: str
    home: str
    dtypes: tuple[str, ...]
    is_folder: bool = True
    suffixes: tuple[str, ...] = ()
    tokenizer_is_optional: bool = False
    usual_dtype: str = "float32"

    @property
    def kind(self) -> str:
        """What the result is: "folder" or "file"."""
        return "folder" if self.is_folder else "file"

    def writer(self) -> Writer:
        """What writes this format."""
        module, _, name = self.home.partition(":")
        write: Writer = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        return write


TARGETS: Mapping[str, Target] = {
    "hf": Target(
        "Hugging Face folder", "write_huggingface:write_huggingface", FLOATS, tokenizer_is_optional=True
    ),
    "openai": Target(
        "OpenAI checkpoint", "write_openai:write_openai", FLOATS, is_folder=False, suffixes=OPENAI_SUFFIXES
    ),
    "ctranslate2": Target(
        "CTranslate2 folder",
        "write_ctranslate2:write_ctranslate2",
        (*FLOATS, "int8", "int8_float16", "int8_bfloat16"),
    ),
    "ggml": Target(
        "ggml file",
        "write_ggml:write_ggml",
        ("float32", "float16", "q8_0", "q5_0", "q5_1", "q4_0", "q4_1"),
        is_folder=False,
        usual_dtype="float16",
    ),
    "mlx": Target("MLX folder", "write_mlx:write_mlx", (*FLOATS, "8bit", "4bit")),
}
"""Every format to convert to, by its name."""


def convert_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str = "hf",
    dtype: str | None = None,
    force: bool = False,
    tokenizer: bool = True,
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write the checkpoint `source` in the format `to` at `target`, and return that path.

    `source` is whatever `tympan.load_model` takes, looked for in the same places (`offline`, `revision`,
    `token`, `cache_dir`); an adapter is merged into its model. `to` is "hf", "openai", "ctranslate2", "ggml"
    or "mlx" (`TARGETS`), `dtype` one that the format can hold; without one the weights stay as stored, or as
    float32 where they were quantised or the format cannot hold them (ggml: float16 always). Without
    `tokenizer` a Hugging Face folder holds the model alone. `on_progress` is called with the bytes of the
    weights written so far and in all.

    The target is there only when it is whole. A file, or a folder that has anything in it, is left alone;
    with `force` a file is replaced, and in a folder the files of the same names, older weights being removed
    and other files kept.
    Raises CheckpointError when the source cannot be had, OptionError for a target, a format or a dtype that
    cannot be, OSError when the disk refuses.
    """
    path, format_ = Path(target), _target(to, tokenizer=tokenizer)
    if dtype is not None and dtype not in format_.dtypes:
        raise OptionError(f"dtype of {to} must be one of {', '.join(format_.dtypes)}, but got {dtype!r}")
    check_place(path, format_, force=force)
    if _is_same(source, path):
        raise OptionError(f"{os.fspath(source)!r} and {str(path)!r} are the same {format_.kind}")
    checkpoint = load_checkpoint(
        source,
        offline=offline,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
    )
    settings: dict[str, object] = {
        "dtype": dtype or _stored_dtype(checkpoint, format_),
        "on_progress": on_progress,
    }
    if not tokenizer:
        settings["tokenizer"] = False
    _write(_with_heads(checkpoint, os.fspath(source)), path, format_, settings)
    return path


convert = convert_checkpoint
"""`convert_checkpoint` by the name it has as `tympan.convert`."""


def check_place(path: Path, target: Target, *, force: bool) -> None:
    """Raise OptionError when `target` cannot be written to `path`, or only with `force`."""
    if target.is_folder:
        if path.exists() and not path.is_dir():
            raise OptionError(f"a folder is to be written, but {str(path)!r} is a file")
        if path.is_dir() and any(path.iterdir()) and not force:
            raise OptionError(
                f"the folder {str(path)!r} is not empty; choose another, or replace what is in it "
                f"with --force"
            )
        if path.is_dir() and (path.is_mount() or Path.cwd().is_relative_to(path.resolve())):
            raise OptionError(
                f"the folder {str(path)!r} is in use as it is, and cannot be exchanged for another; "
                f"choose one in it"
            )
        return
    if path.is_dir():
        raise OptionError(f"a file is to be written, but {str(path)!r} is a folder")
    if target.suffixes and path.suffix not in target.suffixes:
        raise OptionError(f"the file must be called *{target.suffixes[0]}, but got {path.name!r}")
    if path.exists() and not force:
        raise OptionError(f"the file {str(path)!r} exists; choose another, or replace it with --force")


def _target(to: str, *, tokenizer: bool) -> Target:
    if to not in TARGETS:
        raise OptionError(f"the format must be one of {', '.join(TARGETS)}, but got {to!r}")
    if not tokenizer and not TARGETS[to].tokenizer_is_optional:
        raise OptionError(f"only a Hugging Face folder can do without its tokenizer, not {to}")
    return TARGETS[to]


def _is_same(source: str | os.PathLike[str], path: Path) -> bool:
    """Whether the two are one file or folder, or the folder holds the weights that it would be made of."""
    given = Path(os.path.expanduser(source))
    if not os.path.exists(given) or not path.exists():  # what is no name of a file is left to be looked for
        return False
    is_inside = path.is_dir() and given.is_file() and given.parent.samefile(path)
    return given.samefile(path) or (is_inside and is_weight_file(given.name))


def _stored_dtype(checkpoint: Checkpoint, target: Target) -> str:
    """The narrowest dtype that holds every weight as it is, if the format has it, else its usual one.

    For ggml that is always float16: whisper.cpp computes convolutions with nothing else on a CPU.
    """
    if target.usual_dtype != "float32":
        return target.usual_dtype
    tensors = checkpoint.state.values()
    dtypes = {tensor.dtype for tensor in tensors}
    widest = reduce(torch.promote_types, dtypes)
    for dtype in dtypes - {widest}:  # ggml keeps the vectors of a float16 model as float32
        if all(torch.equal(tensor.to(dtype).to(tensor.dtype), tensor) for tensor in tensors):
            widest = dtype
    name = str(widest).removeprefix("torch.")
    return name if name in target.dtypes else target.usual_dtype


def _with_heads(checkpoint: Checkpoint, source: str) -> Checkpoint:
    """The checkpoint with the alignment heads of OpenAI's model of this size where it does not name any."""
    facts = checkpoint.generation
    heads = facts.alignment_heads or alignment_heads(checkpoint.config, source)
    return replace(checkpoint, generation=replace(facts, alignment_heads=heads))


def _write(checkpoint: Checkpoint, path: Path, target: Target, settings: Mapping[str, object]) -> None:
    place = path.expanduser().resolve()  # what a link points to is written, not the link
    with staged(place) as whole:
        if target.is_folder:
            whole.mkdir()
        target.writer()(checkpoint, whole, **settings)
        put_in_place(whole, place, is_stale=is_weight_file)
