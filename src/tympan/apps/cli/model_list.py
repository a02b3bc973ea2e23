"""The list of `tympan models`: what is known, and what of it is on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tympan.adapters.checkpoints.sizes import MODELS, KnownModel

if TYPE_CHECKING:
    from tympan.adapters.checkpoints.library import Place

_NOTHING_HERE = "None is on this machine; tympan models pull NAME brings one.\n"


def list_models(*, as_json: bool) -> str:
    """Two tables for people: what is known, what is here; or one JSON object that says the same."""
    from tympan.adapters.checkpoints.library import find_places, other_cached

    here = {name: find_places(name) for name in (*MODELS, *other_cached())}
    return _json(here) if as_json else f"{_known_table()}\n{_place_table(here)}"


def spelled_size(n_bytes: int) -> str:
    """Bytes as people write them: 151 MB, 3.09 GB."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _known_table() -> str:
    rows = [("name", "of the Hub", "parameters", "languages", "mel bins", "download")]
    for model in MODELS.values():
        rows.append(
            (
                ", ".join((model.name, *model.other_names)),
                model.hub_id,
                f"{model.n_millions} M",
                "English" if model.n_languages == 1 else str(model.n_languages),
                str(model.num_mel_bins),
                spelled_size(model.n_download_bytes),
            )
        )
    return _table(rows, "<<>>>>")


def _place_table(here: dict[str, list[Place]]) -> str:
    rows = [("here", "on disk", "in", "path")]
    for name, places in here.items():
        for place in places:
            at = f" at {place.revision[:8]}" if place.revision else ""
            part = ", a part" if place.lack else ""
            rows.append((name, spelled_size(place.n_bytes), f"{place.kind}{at}{part}", str(place.path)))
    return _table(rows, "<><<") if len(rows) > 1 else _NOTHING_HERE


def _table(rows: Sequence[tuple[str, ...]], alignment: str) -> str:
    """`rows` in columns, each with its side in `alignment`: < for words, > for numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _json(here: dict[str, list[Place]]) -> str:
    known = [{**_facts(model), "here": _places(here[name])} for name, model in MODELS.items()]
    others = [{"hub_id": name, "here": _places(here[name])} for name in here if name not in MODELS]
    return json.dumps({"known": known, "others": others}, ensure_ascii=False, indent=2) + "\n"


def _facts(model: KnownModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "other_names": list(model.other_names),
        "hub_id": model.hub_id,
        "ctranslate2_id": model.ctranslate2_id,
        "parameters": model.n_parameters,
        "languages": model.n_languages,
        "mel_bins": model.num_mel_bins,
        "download_bytes": model.n_download_bytes,
    }


def _places(places: list[Place]) -> list[dict[str, Any]]:
    return [
        {
            "in": place.kind,
            "origin": place.files.origin,
            "path": str(place.path),
            "bytes": place.n_bytes,
            "whole": not place.lack,
            "revision": place.revision,
        }
        for place in places
    ]
