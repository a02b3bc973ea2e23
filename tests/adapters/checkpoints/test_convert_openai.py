"""OpenAI -> Hugging Face: what transformers makes of the folder is what the `.pt` was."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from oracles import openai_twin
from tympan.adapters.checkpoints import convert_openai as program
from tympan.adapters.checkpoints import openai_cache
from tympan.adapters.checkpoints.convert_openai import convert_openai
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import CheckpointError, OptionError
from tympan.model.whisper import Whisper
from tympan.text.vocabularies import builtin_tokenizer

whisper = pytest.importorskip("whisper")
transformers = pytest.importorskip("transformers")

pytestmark = [
    # openai-whisper leaves its vocabulary file to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MODEL_FILES = {"config.json", "generation_config.json", "model.safetensors"}
PREPROCESSOR_FILES = {
    "preprocessor_config.json", "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json",
    "special_tokens_map.json", "tokenizer_config.json", "normalizer.json",
}  # fmt: skip
VOCABULARY_SIZES = (51864, 51865, 51866)


def random_model(n_vocab, n_mels):
    torch.manual_seed(n_vocab)
    dimensions = whisper.model.ModelDimensions(
        n_mels=n_mels, n_audio_ctx=1500, n_audio_state=6, n_audio_head=3, n_audio_layer=2, n_vocab=n_vocab,
        n_text_ctx=448, n_text_state=6, n_text_head=2, n_text_layer=1,
    )  # fmt: skip
    model = whisper.model.Whisper(dimensions)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


@pytest.fixture(scope="module", params=VOCABULARY_SIZES)
def converted(request, tmp_path_factory):
    """openai-whisper's random model of a real vocabulary, and the folder made of its `.pt`."""
    folder = tmp_path_factory.mktemp("converted")
    model = random_model(request.param, 128 if request.param == 51866 else 80)
    content = {"dims": dataclasses.asdict(model.dims), "model_state_dict": model.state_dict()}
    torch.save(content, folder / "model.pt")
    return model, convert_openai(folder / "model.pt", folder / "hf")


def test_logits_are_equal_in_all_three(converted):
    theirs, folder = converted
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(1, theirs.dims.n_mels, 3000, generator=generator)
    tokens = torch.randint(theirs.dims.n_vocab, (1, 5), generator=generator)
    twin, info = transformers.WhisperForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info.values())
    checkpoint = load_checkpoint(folder)
    ours = Whisper.from_state(checkpoint.config, checkpoint.state, torch.float32)
    with torch.inference_mode():
        expected = theirs(features, tokens)
        torch.testing.assert_close(
            twin(features, decoder_input_ids=tokens).logits, expected, atol=1e-4, rtol=0
        )
        torch.testing.assert_close(ours(features, tokens), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1


def test_the_processor_of_transformers_reads_it(converted):
    theirs, folder = converted
    assert {path.name for path in folder.iterdir()} == MODEL_FILES | PREPROCESSOR_FILES
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    ours, text = builtin_tokenizer(theirs.dims.n_vocab), " to the tea, it's 12 日本 😀"
    tokenizer, tokens = processor.tokenizer, ours.encode(text)
    assert tokenizer(text, add_special_tokens=False).input_ids == tokens
    assert len(tokenizer) == theirs.dims.n_vocab
    assert tokenizer.all_special_ids[-1] + 1 == ours.timestamp_begin
    timed = [ours.timestamp_begin, *tokens, ours.timestamp_begin + 54]
    assert tokenizer.decode(timed, decode_with_timestamps=True) == f"<|0.00|>{text}<|1.08|>"
    assert tokenizer.normalize("colour") == "color"
    assert processor.feature_extractor.feature_size == theirs.dims.n_mels
    assert processor.feature_extractor.nb_max_frames == 3000


def test_the_parts_of_the_tokenizer_agree(converted):
    theirs, folder = converted
    parts = {name: (folder / name).read_text(encoding="utf-8") for name in PREPROCESSOR_FILES}
    whole, added = json.loads(parts["tokenizer.json"]), json.loads(parts["added_tokens.json"])
    vocabulary = json.loads(parts["vocab.json"])
    assert sorted([*vocabulary.values(), *added.values()]) == list(range(theirs.dims.n_vocab))
    assert parts["merges.txt"].splitlines()[1:] == whole["model"]["merges"]
    decoder = json.loads(parts["tokenizer_config.json"])["added_tokens_decoder"]
    assert {int(n): token["content"] for n, token in decoder.items()} == {
        token["id"]: token["content"] for token in whole["added_tokens"]
    }
    (folder / "tokenizer.json").rename(folder / "aside.json")
    try:
        from_parts = load_checkpoint(folder).tokenizer.encode(" to the tea")
        assert from_parts == builtin_tokenizer(theirs.dims.n_vocab).encode(" to the tea")
    finally:
        (folder / "aside.json").rename(folder / "tokenizer.json")


def test_transformers_generates_from_it(converted):
    theirs, folder = converted
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    features = torch.randn(1, theirs.dims.n_mels, 3000, generator=torch.Generator().manual_seed(1))
    assert model.generate(features, max_new_tokens=3).shape[1] <= 8


def test_the_way_back_from_transformers(converted, tmp_path):
    """What transformers saves of the folder converts to the same weights and the same settings."""
    _, folder = converted
    transformers.WhisperForConditionalGeneration.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    for name in PREPROCESSOR_FILES:
        shutil.copy(folder / name, tmp_path / "saved")
    again = convert_openai(tmp_path / "saved", tmp_path / "again")
    first, second = load_checkpoint(folder), load_checkpoint(again)
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert dataclasses.replace(second.config, extra={}) == dataclasses.replace(first.config, extra={})
    for name in ("suppress_tokens", "language_ids", "begin_suppress_tokens", "is_multilingual"):
        assert getattr(second.generation, name) == getattr(first.generation, name), name


def test_the_real_tiny_en(tiny_en, tmp_path):
    twin = openai_twin(whisper, tiny_en.model)
    state = {name: tensor.half() for name, tensor in twin.state_dict().items()}
    torch.save({"dims": dataclasses.asdict(twin.dims), "model_state_dict": state}, tmp_path / "tiny.en.pt")
    folder = convert_openai(tmp_path / "tiny.en.pt", tmp_path / "hf")
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert model.generation_config.alignment_heads[0] == [1, 0]
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(3))
    tokens = torch.tensor([[50257, 50362, 400]])
    with torch.inference_mode():
        expected = tiny_en.model(features, tokens)
        found = model(features, decoder_input_ids=tokens).logits
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


@pytest.fixture
def small_pt(vocabulary_folder, tmp_path):
    """A `.pt` with a vocabulary of its own, and its tokenizer beside it."""
    torch.manual_seed(0)
    dimensions = dict(
        n_mels=7, n_audio_ctx=13, n_audio_state=22, n_audio_head=2, n_audio_layer=2, n_vocab=307,
        n_text_ctx=17, n_text_state=22, n_text_head=11, n_text_layer=3,
    )  # fmt: skip
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**dimensions))
    (tmp_path / "source").mkdir()
    shutil.copy(vocabulary_folder / "tokenizer.json", tmp_path / "source")
    torch.save({"dims": dimensions, "model_state_dict": model.state_dict()}, tmp_path / "source" / "small.pt")
    return tmp_path / "source" / "small.pt"


def test_a_vocabulary_of_its_own_is_kept(small_pt, tmp_path):
    folder = convert_openai(small_pt, tmp_path / "hf")
    assert load_checkpoint(folder).tokenizer.special_id("<|de|>") == 259
    assert transformers.WhisperTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|de|>") == 259


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_and_the_model_alone(small_pt, tmp_path, dtype):
    folder = convert_openai(small_pt, tmp_path / "hf", convert_preprocessor=False, dtype=dtype)
    assert {path.name for path in folder.iterdir()} == MODEL_FILES
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {
        getattr(torch, dtype)
    }
    assert json.loads((folder / "config.json").read_text())["dtype"] == dtype
    with pytest.raises(OptionError, match="dtype of hf must be one of float32"):
        convert_openai(small_pt, tmp_path / "other", dtype="int8")


def test_a_folder_in_use_is_left_alone_unless_forced(small_pt, tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    convert_openai(small_pt, folder)  # empty: taken
    stale = folder / "model-00001-of-00002.safetensors"
    stale.write_bytes(b"old")
    (folder / "README.md").write_text("mine")
    (folder / "config.json").write_text("{}")
    with pytest.raises(OptionError, match=r"not empty.*--force"):
        convert_openai(small_pt, folder)
    assert (folder / "config.json").read_text() == "{}"
    convert_openai(small_pt, folder, force=True)
    assert (folder / "README.md").read_text() == "mine"
    assert not stale.exists()
    assert load_checkpoint(folder).config.num_mel_bins == 7
    with pytest.raises(OptionError, match="is a file"):
        convert_openai(small_pt, small_pt, force=True)


def test_a_stopped_conversion_leaves_nothing(small_pt, tmp_path, monkeypatch):
    def stop(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("tympan.adapters.hf.saving.save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        convert_openai(small_pt, tmp_path / "hf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_names_are_found_on_this_machine_or_explained(
    small_pt, tmp_path, monkeypatch, empty_cache, no_network
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        CheckpointError, match=r"(?s)Nothing is downloaded.*medium\.pt.*openai/whisper-medium"
    ):
        convert_openai("medium", tmp_path / "hf")
    monkeypatch.setattr(openai_cache, "_HALF_PRECISION_BYTES", 0)  # a medium model of a few kilobytes
    (tmp_path / "cache" / "whisper").mkdir(parents=True)
    content = torch.load(small_pt)
    content["dims"]["n_vocab"] = 51865  # there is no tokenizer beside it
    content["model_state_dict"]["decoder.token_embedding.weight"] = torch.randn(51865, 22)
    torch.save(content, tmp_path / "cache" / "whisper" / "medium.pt")
    assert load_checkpoint(convert_openai("medium", tmp_path / "hf")).config.num_mel_bins == 7


def test_a_wheel_by_its_name(base, tmp_path):
    """Its tokenizer lacks a merge and the timestamps; the folder has both."""
    folder = convert_openai("base", tmp_path / "hf")
    checkpoint = load_checkpoint(folder)
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(stored[name].float(), base.model.state_dict()[name]) for name in stored)
    assert (
        checkpoint.generation.alignment_heads
        == load_checkpoint("base", offline=True).generation.alignment_heads
    )
    assert checkpoint.tokenizer.encode(" to") == [281]
    assert checkpoint.tokenizer.special_id("<|30.00|>") == 51864


def test_the_program(small_pt, tmp_path, capsys):
    arguments = ["--checkpoint_path", str(small_pt), "--pytorch_dump_folder_path", str(tmp_path / "hf")]
    assert program.main([*arguments, "--convert_preprocessor", "True", "--dtype", "float16"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'hf'}\n"
    assert {path.name for path in (tmp_path / "hf").iterdir()} == MODEL_FILES | PREPROCESSOR_FILES
    assert program.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: the folder")
    assert program.main([*arguments, "--force"]) == 0
    with pytest.raises(SystemExit):
        program.main([*arguments, "--convert_preprocessor", "perhaps"])


def test_the_module_runs():
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", program.__name__, "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--pytorch_dump_folder_path" in finished.stdout
