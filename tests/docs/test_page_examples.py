"""The examples of transformers' Whisper page that need no `generate`, with our imports and real weights.

Each runs the calls of one example in both libraries. The results are equal, and what the page prints comes
out.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

import tympan

TINY_EN, BASE = "openai/whisper-tiny.en", "openai/whisper-base"


def assert_close(ours, theirs, atol=2e-4):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-4)


def test_configuration():
    """WhisperConfig: a model of the tiny architecture with random weights."""
    configuration = tympan.WhisperConfig()
    model = tympan.WhisperModel(configuration)
    configuration = model.config
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperModel(transformers.WhisperConfig())
    assert (configuration.d_model, configuration.encoder_layers) == (384, 4)
    assert model.num_parameters() == theirs.num_parameters()
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in (model, theirs)]
    assert shapes[0] == shapes[1]


def prefix_tokens(hf, model):
    tokenizer = hf.WhisperTokenizerFast.from_pretrained(model, language="spanish")
    spanish = tokenizer("hola").input_ids
    tokenizer.set_prefix_tokens(language="french")
    return tokenizer.decode(spanish), tokenizer.decode(tokenizer("salut").input_ids)


def test_prefix_tokens_are_switched(run_in_both):
    """WhisperTokenizer.set_prefix_tokens: from Spanish to French."""
    ours, theirs = run_in_both(prefix_tokens, BASE)
    assert ours == theirs
    assert [text[21:27] for text in ours] == ["<|es|>", "<|fr|>"]


def decoder_prompt(hf, model):
    processor = hf.WhisperProcessor.from_pretrained(model)
    return processor.get_decoder_prompt_ids(language="french", task="transcribe")


def test_decoder_prompt_ids(run_in_both):
    """WhisperProcessor.get_decoder_prompt_ids, as for forced decoder ids."""
    ours, theirs = run_in_both(decoder_prompt, BASE)
    assert ours == theirs == [(1, 50265), (2, 50359), (3, 50363)]


def hidden_states(hf, name, sound):
    model = hf.WhisperModel.from_pretrained(name)
    feature_extractor = hf.AutoFeatureExtractor.from_pretrained(name)
    inputs = feature_extractor(sound, return_tensors="pt")
    input_features = inputs.input_features
    decoder_input_ids = torch.tensor([[1, 1]]) * model.config.decoder_start_token_id
    with torch.no_grad():
        return model(input_features, decoder_input_ids=decoder_input_ids).last_hidden_state


def test_hidden_states(run_in_both, quilter):
    """WhisperModel.forward."""
    ours, theirs = run_in_both(hidden_states, BASE, quilter)
    assert list(ours.shape) == [1, 2, 512]
    assert_close(ours, theirs, atol=1e-3)


def language_of_speech(hf, name, sound, labels):
    feature_extractor = hf.AutoFeatureExtractor.from_pretrained(name)
    model = hf.WhisperForAudioClassification.from_pretrained(
        name, num_labels=len(labels), id2label=dict(enumerate(labels))
    )
    with torch.no_grad():  # the head is untrained: these weights are the same in both
        for offset, layer in enumerate((model.projector, model.classifier)):
            values = torch.arange(layer.weight.numel()) + offset
            layer.weight.copy_(torch.cos(values).reshape(layer.weight.shape))
            layer.bias.zero_()
    inputs = feature_extractor(sound, sampling_rate=16_000, return_tensors="pt")
    input_features = inputs.input_features
    with torch.no_grad():
        logits = model(input_features).logits
    predicted_class_ids = torch.argmax(logits).item()
    return logits, model.config.id2label[predicted_class_ids]


def test_audio_classification(run_in_both, quilter):
    """WhisperForAudioClassification.forward; there is no trained classifier here, so its layers are set."""
    labels = ["Afrikaans", "Amharic", "Arabic"]
    ours, theirs = run_in_both(language_of_speech, BASE, quilter, labels)
    assert ours[1] == theirs[1]
    assert ours[1] in labels
    assert_close(ours[0], theirs[0], atol=1e-2)


def training_step(hf, name, sounds, texts):
    """What the collator of the fine-tuning guides does, and one step."""
    processor = hf.WhisperProcessor.from_pretrained(name, language="english", task="transcribe")
    model = hf.WhisperForConditionalGeneration.from_pretrained(name, dtype=torch.float32)
    model.freeze_encoder()
    rows = [
        {
            "input_features": processor.feature_extractor(sound, sampling_rate=16_000).input_features[0],
            "labels": processor.tokenizer(text).input_ids,
        }
        for sound, text in zip(sounds, texts, strict=True)
    ]
    features = [{"input_features": row["input_features"]} for row in rows]
    batch = processor.feature_extractor.pad(features, return_tensors="pt")
    padded = processor.tokenizer.pad([{"input_ids": row["labels"]} for row in rows], return_tensors="pt")
    labels = padded["input_ids"].masked_fill(padded.attention_mask.ne(1), -100)
    if (labels[:, 0] == model.config.decoder_start_token_id).all():
        labels = labels[:, 1:]
    batch["labels"] = labels
    loss = model(**batch).loss
    loss.backward()
    gradient = model.model.decoder.layers[0].fc1.weight.grad
    return labels, loss.detach(), gradient, model.model.encoder.conv1.weight.grad


def test_fine_tuning(run_in_both, quilter, clip):
    """A batch made by the processor, and a step with a frozen encoder."""
    sounds = [quilter, clip("en_lj_LJ001-0008.flac")]
    texts = ["Mr. Quilter is the apostle of the middle classes.", "has never been surpassed."]
    ours, theirs = run_in_both(training_step, BASE, sounds, texts)
    assert torch.equal(ours[0], theirs[0])
    assert (ours[0] == -100).any()
    assert_close(ours[1], theirs[1])
    assert_close(ours[2], theirs[2], atol=1e-3)
    assert ours[3] is theirs[3] is None


def names_by_auto(hf, name):
    """Every Auto class that has a Whisper, and what it makes of one."""
    autos = (
        hf.AutoConfig, hf.AutoProcessor, hf.AutoTokenizer, hf.AutoFeatureExtractor, hf.AutoModel,
        hf.AutoModelForSpeechSeq2Seq, hf.AutoModelForAudioClassification,
    )  # fmt: skip
    return [type(auto.from_pretrained(name)).__name__.removesuffix("Fast") for auto in autos]


def test_auto_classes(run_in_both):
    """The Auto names of the page and its neighbours."""
    ours, theirs = run_in_both(names_by_auto, TINY_EN)
    assert ours == theirs
    assert ours[1] == "WhisperProcessor"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # openai-whisper leaves its vocabulary file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_conversion_command(tiny_en, quilter, tmp_path):
    """OpenAI's checkpoint to a folder, with the options of the script of transformers."""
    whisper, transformers = pytest.importorskip("whisper"), pytest.importorskip("transformers")
    from oracles import openai_twin

    twin = openai_twin(whisper, tiny_en.model)
    content = {"dims": dataclasses.asdict(twin.dims), "model_state_dict": twin.state_dict()}
    torch.save(content, tmp_path / "tiny.en.pt")
    command = [
        sys.executable, "-m", "tympan.adapters.checkpoints.convert_openai",
        "--checkpoint_path", str(tmp_path / "tiny.en.pt"),
        "--pytorch_dump_folder_path", str(tmp_path / "whisper-tiny.en"),
        "--convert_preprocessor", "True",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    logits = []
    for hf in (tympan, transformers):
        processor = hf.WhisperProcessor.from_pretrained(tmp_path / "whisper-tiny.en")
        model = hf.WhisperForConditionalGeneration.from_pretrained(tmp_path / "whisper-tiny.en")
        inputs = processor(audio=quilter, sampling_rate=16_000, text=" Mr. Quilter", return_tensors="pt")
        with torch.no_grad():
            logits.append(model(inputs["input_features"], labels=torch.as_tensor(inputs["labels"])).logits)
        assert isinstance(np.asarray(inputs["input_features"]), np.ndarray)
    assert_close(*logits, atol=1e-3)
    text = processor.tokenizer.decode(logits[0].argmax(-1)[0])
    assert "Quilter" in text
