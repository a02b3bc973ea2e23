"""tympan: Whisper, the speech recogniser, as a library and a program.

    import tympan
    whisper = tympan.load_model("base")
    transcript = whisper.transcribe("talk.mp3")
    tympan.write(transcript, "talk.srt")

    from tympan import WhisperModel, WhisperProcessor  # and the other names of transformers

Names are looked up when they are first used, so that `import tympan` is quick and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tympan.version import __version__

if TYPE_CHECKING:
    from tympan.adapters.hf.auto import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForAudioClassification,
        AutoModelForCausalLM,
        AutoModelForSpeechSeq2Seq,
        AutoProcessor,
        AutoTokenizer,
    )
    from tympan.adapters.hf.configuration import WhisperConfig
    from tympan.adapters.hf.feature_extraction import WhisperFeatureExtractor
    from tympan.adapters.hf.generation.logits_base import LogitsProcessor, LogitsProcessorList
    from tympan.adapters.hf.generation.logits_timestamps import WhisperTimeStampLogitsProcessor
    from tympan.adapters.hf.generation.stopping import StoppingCriteria, StoppingCriteriaList
    from tympan.adapters.hf.generation.streaming import (
        AsyncTextIteratorStreamer,
        BaseStreamer,
        TextIteratorStreamer,
        TextStreamer,
    )
    from tympan.adapters.hf.generation_config import GenerationConfig
    from tympan.adapters.hf.modeling import (
        WhisperForAudioClassification,
        WhisperForCausalLM,
        WhisperForConditionalGeneration,
        WhisperModel,
    )
    from tympan.adapters.hf.pipelines.classification import AudioClassificationPipeline
    from tympan.adapters.hf.pipelines.pipeline import pipeline
    from tympan.adapters.hf.pipelines.speech import AutomaticSpeechRecognitionPipeline
    from tympan.adapters.hf.pretrained import WhisperPreTrainedModel
    from tympan.adapters.hf.processing import WhisperProcessor
    from tympan.adapters.hf.tokenization import WhisperTokenizer, WhisperTokenizerFast
    from tympan.adapters.load import load_model
    from tympan.errors import (
        AudioError,
        AudioWarning,
        CheckpointError,
        InputError,
        MissingExtra,
        OptionError,
        TympanError,
        TympanWarning,
    )
    from tympan.results import Remark, Segment, Transcript, Word
    from tympan.transcription.options import TranscribeOptions
    from tympan.transcription.transcriber import Transcriber
    from tympan.writers import render, write
    from tympan.writers.captions import PROFILES, CaptionOptions, profile, shape
    from tympan.writers.read import read_transcript

_HOMES = {
    "AsyncTextIteratorStreamer": "tympan.adapters.hf.generation.streaming",
    "AudioClassificationPipeline": "tympan.adapters.hf.pipelines.classification",
    "AutoConfig": "tympan.adapters.hf.auto",
    "AutoFeatureExtractor": "tympan.adapters.hf.auto",
    "AutoModel": "tympan.adapters.hf.auto",
    "AutoModelForAudioClassification": "tympan.adapters.hf.auto",
    "AutoModelForCausalLM": "tympan.adapters.hf.auto",
    "AutoModelForSpeechSeq2Seq": "tympan.adapters.hf.auto",
    "AutoProcessor": "tympan.adapters.hf.auto",
    "AutoTokenizer": "tympan.adapters.hf.auto",
    "AutomaticSpeechRecognitionPipeline": "tympan.adapters.hf.pipelines.speech",
    "BaseStreamer": "tympan.adapters.hf.generation.streaming",
    "GenerationConfig": "tympan.adapters.hf.generation_config",
    "LogitsProcessor": "tympan.adapters.hf.generation.logits_base",
    "LogitsProcessorList": "tympan.adapters.hf.generation.logits_base",
    "StoppingCriteria": "tympan.adapters.hf.generation.stopping",
    "StoppingCriteriaList": "tympan.adapters.hf.generation.stopping",
    "TextIteratorStreamer": "tympan.adapters.hf.generation.streaming",
    "TextStreamer": "tympan.adapters.hf.generation.streaming",
    "WhisperConfig": "tympan.adapters.hf.configuration",
    "WhisperFeatureExtractor": "tympan.adapters.hf.feature_extraction",
    "WhisperForAudioClassification": "tympan.adapters.hf.modeling",
    "WhisperForCausalLM": "tympan.adapters.hf.modeling",
    "WhisperForConditionalGeneration": "tympan.adapters.hf.modeling",
    "WhisperModel": "tympan.adapters.hf.modeling",
    "WhisperPreTrainedModel": "tympan.adapters.hf.pretrained",
    "WhisperProcessor": "tympan.adapters.hf.processing",
    "WhisperTimeStampLogitsProcessor": "tympan.adapters.hf.generation.logits_timestamps",
    "WhisperTokenizer": "tympan.adapters.hf.tokenization",
    "WhisperTokenizerFast": "tympan.adapters.hf.tokenization",
    "pipeline": "tympan.adapters.hf.pipelines.pipeline",
    "load_model": "tympan.adapters.load",
    "AudioError": "tympan.errors",
    "AudioWarning": "tympan.errors",
    "CheckpointError": "tympan.errors",
    "InputError": "tympan.errors",
    "MissingExtra": "tympan.errors",
    "OptionError": "tympan.errors",
    "TympanError": "tympan.errors",
    "TympanWarning": "tympan.errors",
    "Remark": "tympan.results",
    "Segment": "tympan.results",
    "Transcript": "tympan.results",
    "Word": "tympan.results",
    "TranscribeOptions": "tympan.transcription.options",
    "Transcriber": "tympan.transcription.transcriber",
    "CaptionOptions": "tympan.writers.captions",
    "PROFILES": "tympan.writers.captions",
    "profile": "tympan.writers.captions",
    "shape": "tympan.writers.captions",
    "read_transcript": "tympan.writers.read",
    "render": "tympan.writers",
    "write": "tympan.writers",
}

__all__ = [
    "PROFILES",
    "AsyncTextIteratorStreamer",
    "AudioClassificationPipeline",
    "AudioError",
    "AudioWarning",
    "AutoConfig",
    "AutoFeatureExtractor",
    "AutoModel",
    "AutoModelForAudioClassification",
    "AutoModelForCausalLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoProcessor",
    "AutoTokenizer",
    "AutomaticSpeechRecognitionPipeline",
    "BaseStreamer",
    "CaptionOptions",
    "CheckpointError",
    "GenerationConfig",
    "InputError",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MissingExtra",
    "OptionError",
    "Remark",
    "Segment",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
    "TranscribeOptions",
    "Transcriber",
    "Transcript",
    "TympanError",
    "TympanWarning",
    "WhisperConfig",
    "WhisperFeatureExtractor",
    "WhisperForAudioClassification",
    "WhisperForCausalLM",
    "WhisperForConditionalGeneration",
    "WhisperModel",
    "WhisperPreTrainedModel",
    "WhisperProcessor",
    "WhisperTimeStampLogitsProcessor",
    "WhisperTokenizer",
    "WhisperTokenizerFast",
    "Word",
    "__version__",
    "load_model",
    "pipeline",
    "profile",
    "read_transcript",
    "render",
    "shape",
    "write",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tympan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
