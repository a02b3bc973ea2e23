"""What other programs make of the files that tympan writes from the real tiny.en: the right words, always.

What whisper.cpp makes of them is in `test_checkpoint_ggml`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tympan.adapters.checkpoints.convert import convert_checkpoint
from tympan.audio.decode import read_waveform
from tympan.text.normalize import EnglishTextNormalizer

WORDS = (
    "and mister john dashwood had then leisure to consider how much there might be prudently "
    "in his power to do for them"
)


@pytest.fixture(scope="module")
def waveform(sample):
    return np.asarray(read_waveform(sample))


def words(text: str) -> str:
    return EnglishTextNormalizer()(text)


@pytest.fixture
def written(tiny_en, tmp_path):
    """Writes tiny.en in a format and gives the path."""

    def write(to, dtype, name="model"):
        return convert_checkpoint("tiny.en", tmp_path / name, to=to, dtype=dtype, offline=True)

    return write


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "int8_float16"])
def test_faster_whisper(written, waveform, dtype):
    faster_whisper = pytest.importorskip("faster_whisper")
    model = faster_whisper.WhisperModel(
        str(written("ctranslate2", dtype)), compute_type="int8", cpu_threads=1
    )
    segments, info = model.transcribe(waveform, beam_size=1, word_timestamps=True)
    segments = list(segments)
    assert words("".join(segment.text for segment in segments)) == words(WORDS)
    assert [word for segment in segments for word in segment.words]
    assert info.language == "en"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantization", ["float16", "int8", "int8_float16"])
def test_the_model_of_ctranslate2s_own_converter_is_byte_for_byte_ours(written, tmp_path, quantization):
    converters = pytest.importorskip("ctranslate2.converters")
    # What is not quantised stays as it is in the folder, and that is float32 for plain int8.
    folder = written("hf", "float32" if quantization == "int8" else "float16", "hf")
    converter = converters.TransformersConverter(str(folder))
    converter.convert(str(tmp_path / "theirs"), quantization=quantization)
    ours = written("ctranslate2", quantization, "ours")
    with (tmp_path / "theirs" / "model.bin").open("rb") as expected:
        assert (ours / "model.bin").read_bytes() == expected.read()
    for name in ("config.json", "vocabulary.json"):
        expected = json.loads((tmp_path / "theirs" / name).read_text())
        found = json.loads((ours / name).read_text())
        if name == "config.json":  # the installed tiny.en lists languages, which its folder cannot say
            del found["lang_ids"], expected["lang_ids"]
        assert found == expected, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_openai_whisper(written, waveform, dtype):
    whisper = pytest.importorskip("whisper")
    model = whisper.load_model(str(written("openai", dtype, "tiny.en.pt")), device="cpu")
    assert words(model.transcribe(waveform, fp16=False, temperature=0.0)["text"]) == words(WORDS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_transformers(written, waveform, dtype):
    transformers = pytest.importorskip("transformers")
    folder = written("hf", dtype)
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype="float32")
    features = processor(waveform, sampling_rate=16_000, return_tensors="pt").input_features
    tokens = model.generate(features, do_sample=False)
    assert words(processor.batch_decode(tokens, skip_special_tokens=True)[0]) == words(WORDS)
