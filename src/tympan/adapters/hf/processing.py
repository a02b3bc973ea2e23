"""`WhisperProcessor`: a feature extractor and a tokenizer as one, under transformers' names and in its files.

Sound goes to the one, text to the other. The layout of the folders is that of transformers 5.4.0: the
tokenizer's own files, and a `processor_config.json` with the feature extractor inside.
"""

# ruff: noqa: ANN401, PLR0917  (what the parts take and give is theirs, and signatures are transformers')
from __future__ import annotations

import copy
import inspect
import json
import os
from pathlib import Path
from typing import Any

from tympan.adapters.hf.feature_extraction import PROCESSOR_NAME, BatchFeature, WhisperFeatureExtractor
from tympan.adapters.hf.files import folder_to_save_in, refuse_upload
from tympan.errors import OptionError

_OF_SOUND_ALONE = frozenset({"do_normalize", "device"})


class WhisperProcessor:
    """Sound -> features, text -> token ids, token ids -> text.

    Its parts are the attributes `feature_extractor` and `tokenizer`. Raises TypeError when the arguments are
    not the one and the other.
    """

    def __init__(self, feature_extractor: WhisperFeatureExtractor, tokenizer: Any) -> None:
        _check_part("feature_extractor", feature_extractor, "pad", "sampling_rate")
        _check_part("tokenizer", tokenizer, "batch_decode", "decode")
        self.feature_extractor = feature_extractor
        self.tokenizer = tokenizer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Features of `audio`, ids of `text`, or of both: features with the ids as `labels`.

        `audio` may be the first positional argument; those after it are the feature extractor's. Sound alone
        gives the extractor's BatchFeature, text alone the tokenizer's encoding. Every other keyword goes to
        the part that is used; with both, to both, but for those that only sound has. So `max_length` counts
        samples for the one and tokens for the other: with both, call the parts one by one to set it. Raises
        OptionError (a ValueError) when there is neither sound nor text, or sound twice.
        """
        audio, text = kwargs.pop("audio", None), kwargs.pop("text", None)
        sampling_rate = kwargs.pop("sampling_rate", None)
        if args:
            if audio is not None:
                raise OptionError("expected sound once, but got it by position and as `audio`")
            audio, args = args[0], args[1:]
        if audio is None and text is None:
            raise OptionError("expected sound as `audio`, or text as `text`, but got neither")
        if audio is None:
            return self.tokenizer(text, **kwargs)
        extract: Any = self.feature_extractor
        if text is None:
            return extract(audio, *args, sampling_rate=sampling_rate, **kwargs)
        known = inspect.signature(extract).parameters
        for_sound = {name: value for name, value in kwargs.items() if name in known}
        for_text = {name: value for name, value in kwargs.items() if name not in _OF_SOUND_ALONE}
        inputs: BatchFeature = extract(audio, *args, sampling_rate=sampling_rate, **for_sound)
        inputs["labels"] = self.tokenizer(text, **for_text)["input_ids"]
        return inputs

    def batch_decode(self, *args: Any, **kwargs: Any) -> Any:
        """The texts of rows of ids: the tokenizer's `batch_decode`."""
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        """The text of ids: the tokenizer's `decode`."""
        return self.tokenizer.decode(*args, **kwargs)

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> Any:
        """Pairs (place, id) of the tokens that tell the decoder language and task: the tokenizer's."""
        return self.tokenizer.get_decoder_prompt_ids(
            task=task, language=language, no_timestamps=no_timestamps
        )

    def get_prompt_ids(self, text: str, return_tensors: str = "np") -> Any:
        """The ids of `text` as something said before: the tokenizer's."""
        return self.tokenizer.get_prompt_ids(text, return_tensors=return_tensors)

    @property
    def model_input_names(self) -> list[str]:
        """What the parts make, in this order: the feature extractor's names, then the tokenizer's."""
        return [*self.feature_extractor.model_input_names, *self.tokenizer.model_input_names]

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The names of the parts."""
        return ["feature_extractor", "tokenizer"]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> Any:
        """The processor of a folder, a hub id, or a short name such as "base".

        Folders of transformers before version 5, with a `preprocessor_config.json`, are read too. Keywords
        that name a field of the feature extractor are for it, the others for the tokenizer; `padding_side` is
        for both. With `return_unused_kwargs=True` the result is (processor, the keywords that went to the
        tokenizer). Raises PretrainedFileError, a CheckpointError and an OSError, when there is none.
        """
        from tympan.adapters.hf.tokenization import WhisperTokenizer

        place: dict[str, Any] = {
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": token,
            "revision": revision,
        }
        if "subfolder" in kwargs:
            place["subfolder"] = kwargs.pop("subfolder")
        hands_back = kwargs.pop("return_unused_kwargs", False)
        extractor, others = WhisperFeatureExtractor.from_pretrained(
            pretrained_model_name_or_path, return_unused_kwargs=True, **place, **kwargs
        )
        for_text = others | {name: kwargs[name] for name in ("padding_side",) if name in kwargs}
        tokenizer = WhisperTokenizer.from_pretrained(pretrained_model_name_or_path, **place, **for_text)
        processor = cls(extractor, tokenizer)
        return (processor, others) if hands_back else processor

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write the tokenizer's files and `processor_config.json` into a folder, made if need be.

        Gives back the path of the latter in a list. Raises OptionError (a ValueError) when the place is a
        file, for `push_to_hub` and for other keywords.
        """
        refuse_upload(push_to_hub, kwargs)
        folder = folder_to_save_in(save_directory)
        tokenizer = copy.copy(self.tokenizer)  # its files name this class; the tokenizer itself is left alone
        if hasattr(tokenizer, "_set_processor_class"):
            tokenizer._set_processor_class(type(self).__name__)
        tokenizer.save_pretrained(folder)
        self.to_json_file(folder / PROCESSOR_NAME)
        return [str(folder / PROCESSOR_NAME)]

    def to_dict(self) -> dict[str, Any]:
        """The feature extractor's fields under its name, and the name of this class; no tokenizer."""
        return {
            "feature_extractor": self.feature_extractor.to_dict(),
            "processor_class": type(self).__name__,
        }

    def to_json_string(self) -> str:
        """The JSON of `to_dict`: keys in order, a newline last."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write `to_json_string` into a file, UTF-8."""
        Path(json_file_path).write_text(self.to_json_string(), encoding="utf-8")

    def __repr__(self) -> str:
        parts = "\n".join(f"- {name}: {getattr(self, name)!r}" for name in self.get_attributes())
        return f"{type(self).__name__}:\n{parts}\n\n{self.to_json_string()}"


def _check_part(name: str, part: object, *needed: str) -> None:
    if not callable(part) or not all(hasattr(part, attribute) for attribute in needed):
        raise TypeError(f"expected a {name.replace('_', ' ')} for {name}, but got a {type(part).__name__}")
