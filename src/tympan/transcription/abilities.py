"""What a model was trained for, as far as its sizes tell."""

from __future__ import annotations

import warnings

from tympan.config import Architecture
from tympan.errors import TympanWarning

_TURBO_LAYERS = (32, 4)
_DISTILLED_DECODER_LAYERS = 2


def warn_of_untaught(architecture: Architecture, language: str | None, task: str) -> None:
    """Warn of a task or language that the model accepts, but was not trained for.

    large-v3-turbo has seen no translations, and answers in the language spoken; the distilled models that
    distil-whisper published (two decoder layers) know English only.
    """
    layers = (architecture.encoder_layers, architecture.decoder_layers)
    if not architecture.is_multilingual:
        return
    if layers == _TURBO_LAYERS and task == "translate":
        _warn(
            "this looks like large-v3-turbo, which was not trained to translate: the text will be in the"
            " language spoken; large-v3, medium and smaller models translate"
        )
    is_distilled = layers[1] == _DISTILLED_DECODER_LAYERS < layers[0]
    if is_distilled and (language not in (None, "en") or task == "translate"):
        _warn(
            "this looks like a model distilled on English alone: what it writes in another language, or as a"
            " translation, cannot be relied on"
        )


def _warn(message: str) -> None:
    warnings.warn(message, TympanWarning, stacklevel=5)
