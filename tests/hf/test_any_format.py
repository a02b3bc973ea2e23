"""Every class of transformers' names takes a checkpoint in any format."""

from __future__ import annotations

import pytest
import torch

import tympan
from tympan.adapters.checkpoints.convert import convert_checkpoint


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("openai", "mine.pt"),
        ("ggml", "ggml-tiny.en.bin"),
        ("mlx", "mlx"),
        ("ctranslate2", "ct2"),
        ("hf", "hf"),
    ],
)
def test_from_pretrained(tiny_en, tmp_path, to, name):
    path = convert_checkpoint("tiny.en", tmp_path / name, to=to, dtype="float16", offline=True)
    processor = tympan.WhisperProcessor.from_pretrained(path)
    text = " The tea, for two: it's there."
    tokens = [*tiny_en.tokenizer.encode(text)]
    assert processor.tokenizer(text, add_special_tokens=False).input_ids == tokens
    assert tympan.WhisperTokenizerFast.from_pretrained(path).decode(tokens) == text
    assert processor.tokenizer.convert_tokens_to_ids("<|30.00|>") == 51863
    assert processor.feature_extractor.feature_size == 80
    assert tympan.WhisperConfig.from_pretrained(path).d_model == 384
    settings = tympan.GenerationConfig.from_pretrained(path)
    assert settings.alignment_heads == [[1, 0], [2, 0], [2, 5], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]]
    state = tympan.WhisperForConditionalGeneration.from_pretrained(path, dtype="float32").state_dict()
    own = tiny_en.model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in state.items())
