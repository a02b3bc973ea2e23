"""openai-whisper's model -> the file of weights that whisper.cpp reads.

The layout, little-endian, is that of `convert-pt-to-ggml.py` of whisper.cpp: a magic number, twelve 32-bit
dimensions, the mel filters, the byte strings of the vocabulary, then the tensors, each with its dimensions in
reverse. Matrices are float16; vectors, position embeddings and the biases of the convolutions float32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x67676D6C
_FLOAT32, _FLOAT16 = 0, 1
_DIMENSIONS = (
    "n_vocab",
    "n_audio_ctx",
    "n_audio_state",
    "n_audio_head",
    "n_audio_layer",
    "n_text_ctx",
    "n_text_state",
    "n_text_head",
    "n_text_layer",
    "n_mels",
)
_COLUMNS = {"encoder.conv1.bias", "encoder.conv2.bias"}
_ALWAYS_FLOAT32 = {*_COLUMNS, "encoder.positional_embedding", "decoder.positional_embedding"}


def write_ggml(path: Path, model: Any) -> None:  # noqa: ANN401 - the peer's class is not imported here
    """Write openai-whisper's `model` to `path`, with its mel filters and its vocabulary."""
    with path.open("wb") as file:
        dimensions = [getattr(model.dims, name) for name in _DIMENSIONS]
        file.write(struct.pack("<12i", _MAGIC, *dimensions, _FLOAT16))
        _write_filters(file, model.dims.n_mels)
        _write_vocabulary(file, is_multilingual=model.is_multilingual)
        for name, values in _tensors(model):
            _write_tensor(file, name, values)


def _write_filters(file: BinaryIO, n_mels: int) -> None:
    from whisper.audio import mel_filters

    filters = mel_filters("cpu", n_mels).numpy().astype("<f4")
    file.write(struct.pack("<2i", *filters.shape))
    file.write(filters.tobytes())


def _write_vocabulary(file: BinaryIO, *, is_multilingual: bool) -> None:
    """The tokens before the special ones; whisper.cpp makes these by itself."""
    from whisper.tokenizer import get_tokenizer

    encoding = get_tokenizer(is_multilingual).encoding
    file.write(struct.pack("<i", encoding.eot_token))
    for token in range(encoding.eot_token):
        spelling = encoding.decode_single_token_bytes(token)
        file.write(struct.pack("<i", len(spelling)) + spelling)


def _tensors(model: Any) -> Iterator[tuple[str, NDArray[Any]]]:  # noqa: ANN401
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        yield name, values[:, None] if name in _COLUMNS else values


def _write_tensor(file: BinaryIO, name: str, values: NDArray[np.float32]) -> None:
    is_float32 = values.ndim < 2 or name in _ALWAYS_FLOAT32
    spelling = name.encode()
    file.write(struct.pack("<3i", values.ndim, len(spelling), _FLOAT32 if is_float32 else _FLOAT16))
    file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)))
    file.write(spelling)
    file.write(values.astype("<f4" if is_float32 else "<f2").tobytes())
