"""What both pipelines share: sound in, pieces of it in batches through the model, results out in order.

    item -> pieces -> batches of like pieces -> one output per piece -> a result per item

Everything between is a generator, so an endless iterator of recordings gives its results one after the other.
"""

# ruff: noqa: ANN401, PLR0917  (models, parts and inputs are anything that behaves like one)
from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from tympan.adapters.hf.files import folder_to_save_in
from tympan.adapters.hf.pipelines.sound import is_one_recording
from tympan.adapters.load import choose_device
from tympan.errors import OptionError, TympanWarning


@dataclass(frozen=True, slots=True)
class Piece:
    """What the model hears at once: `features` [1, M, W] and, where wanted, their mask [1, W].

    `stride` is the piece's length and its overlaps at the left and the right, in samples. `extra` comes out
    again beside the result.
    """

    features: Tensor
    mask: Tensor | None = None
    is_long: bool = False
    is_last: bool = True
    stride: tuple[int, int, int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Pipeline(ABC):
    """A model with what makes its input and reads its output.

    `feature_extractor` and `tokenizer` may come in one as `processor`. `device` is a torch device, its name
    or its number (-1: where the model is); None takes a GPU where there is one, as transformers does, but
    leaves alone a model that was loaded with a `device_map`. `batch_size` and all other keywords are the
    defaults of the calls.
    """

    needs_tokenizer: ClassVar[bool] = False

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        processor: Any = None,
        task: str = "",
        device: int | str | torch.device | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **parameters: Any,
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", None) if tokenizer is None else tokenizer
        self.feature_extractor: Any = (
            getattr(processor, "feature_extractor", None) if feature_extractor is None else feature_extractor
        )
        self._check_parts()
        self.task = task
        self.device = _place(model, device)
        if model.device != self.device:
            model.to(self.device)
        self._batch_size = _checked_batch_size(1 if batch_size is None else batch_size)
        _note_workers(num_workers)
        self._defaults = self._take_defaults(parameters)
        self._settings({})

    def __call__(
        self, inputs: Any, *, batch_size: int | None = None, num_workers: int | None = None, **parameters: Any
    ) -> Any:
        """The result of one recording, a list of those of a list, or an iterator over those of an iterable.

        An iterable is read only as far as results are asked for, and by `batch_size` pieces ahead. There are
        no worker processes: `num_workers` beyond 0 warns and has no effect.
        """
        size = self._batch_size if batch_size is None else _checked_batch_size(batch_size)
        _note_workers(num_workers)
        settings = self._settings(parameters)
        if is_one_recording(inputs):
            return next(self._results([inputs], size, settings))
        if isinstance(inputs, (list, tuple)):
            return list(self._results(inputs, size, settings))
        return self._results(_items(inputs), size, settings)

    def transform(self, X: Any) -> Any:  # noqa: N803  (scikit-learn's name)
        """A call, under scikit-learn's name."""
        return self(X)

    def predict(self, X: Any) -> Any:  # noqa: N803  (scikit-learn's name)
        """A call, under scikit-learn's name."""
        return self(X)

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of the model's parameters."""
        return getattr(self.model, "dtype", None)

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """`dtype`, under its old name."""
        return self.dtype

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write the model, the tokenizer and the feature extractor into a folder, made if need be.

        Raises OptionError when the path is a file.
        """
        folder = folder_to_save_in(save_directory)
        for part in (self.model, self.tokenizer, self.feature_extractor):
            if part is not None:
                part.save_pretrained(folder)

    def __repr__(self) -> str:
        about = {
            "model": type(self.model).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
        }
        return f"{type(self).__name__}: {about}"

    # What a task defines

    @abstractmethod
    def _settings(self, parameters: Mapping[str, Any]) -> Any:
        """`parameters` of a call over the defaults, checked; raises OptionError for what cannot be."""

    @abstractmethod
    def _pieces(self, item: Any, settings: Any) -> Iterator[Piece]:
        """The pieces of one recording, in order; the last one says so."""

    @abstractmethod
    def _infer(self, batch: list[Piece], settings: Any) -> list[Any]:
        """What the model says of each piece of a batch, on the CPU."""

    @abstractmethod
    def _result(self, outputs: list[Any], settings: Any) -> Any:
        """The result of one recording, from the outputs for its pieces."""

    def _take_defaults(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The defaults of the calls among the keywords of the class."""
        return parameters

    # How it runs

    def _results(self, items: Iterable[Any], batch_size: int, settings: Any) -> Iterator[Any]:
        pieces = (piece for item in items for piece in self._pieces(item, settings))
        outputs: list[Any] = []
        for batch in batches(pieces, batch_size):
            with torch.no_grad():
                inferred = self._infer(batch, settings)
            for piece, output in zip(batch, inferred, strict=True):
                outputs.append(output)
                if piece.is_last:
                    yield self._result(outputs, settings)
                    outputs = []

    def _features(self, batch: list[Piece]) -> Tensor:
        """The features [B, M, W] of a batch where the model is and of its type; longest W, zeros behind."""
        features = _joined([piece.features for piece in batch])
        return features.to(self.device, self.dtype)

    def _mask(self, batch: list[Piece]) -> Tensor | None:
        """The mask [B, W] of a batch where the model is, or None when its pieces have none."""
        masks = [piece.mask for piece in batch if piece.mask is not None]
        return _joined(masks).to(self.device) if masks else None

    def _check_parts(self) -> None:
        needed = ("feature_extractor", "tokenizer") if self.needs_tokenizer else ("feature_extractor",)
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise OptionError(
                f"{type(self).__name__} needs {' and '.join(missing)}, or a processor with both"
            )


def batches(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Lists of up to `size` pieces that follow each other; long and short ones are never in one."""
    batch: list[Piece] = []
    for piece in pieces:
        if batch and piece.is_long != batch[0].is_long:
            yield batch
            batch = []
        batch.append(piece)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _joined(rows: list[Tensor]) -> Tensor:
    """Rows [1, ..., W] as one tensor [B, ..., longest W], with zeros behind the shorter ones."""
    longest = max(row.shape[-1] for row in rows)
    return torch.cat([torch.nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])


def _items(inputs: Any) -> Iterator[Any]:
    """The recordings of an iterable, or of a data set read by index; raises OptionError for neither."""
    if hasattr(inputs, "__iter__"):
        return iter(inputs)
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):
        return (inputs[index] for index in range(len(inputs)))
    raise OptionError(
        "expected a path, URL, bytes, array, tensor, dict with samples, or an iterable of these, "
        f"but got {type(inputs).__name__}"
    )


def _place(model: Any, device: int | str | torch.device | None) -> torch.device:
    """Where the pipeline's model is to be; raises OptionError when there is no such device."""
    device_map = getattr(model, "hf_device_map", None)
    if device_map is not None and device is not None:
        raise OptionError("the model was placed by its device_map: leave device out")
    if device == -1 or device_map is not None:
        return torch.device(model.device)
    if device is None or isinstance(device, int):
        return _numbered_device(device or 0)
    return choose_device(str(device))


def _numbered_device(number: int) -> torch.device:
    """The GPU of this number, or the CPU where there is none."""
    if torch.cuda.is_available():
        return choose_device(f"cuda:{number}")
    if torch.backends.mps.is_available():
        return choose_device(f"mps:{number}")
    return torch.device("cpu")


def _checked_batch_size(size: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise OptionError(f"batch_size must be a whole number of at least 1, but got {size!r}")
    return size


def _note_workers(num_workers: int | None) -> None:
    if num_workers:
        warnings.warn(
            f"num_workers={num_workers} has no effect: there are no worker processes",
            TympanWarning,
            stacklevel=3,
        )
