"""`tympan convert`: what the folder holds, what is refused, and that nothing half written stays."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tympan import load_model
from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.apps.cli.main import COMMANDS
from tympan.errors import CheckpointError

DIMENSIONS = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 6, "n_audio_head": 3, "n_audio_layer": 2,
    "n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 6, "n_text_head": 2, "n_text_layer": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A `.pt` as OpenAI's: float16 weights of a tiny random multilingual model."""
    whisper = pytest.importorskip("whisper")
    torch.manual_seed(0)
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**DIMENSIONS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    content = {"dims": dataclasses.asdict(model.dims), "model_state_dict": model.half().state_dict()}
    path = tmp_path_factory.mktemp("openai") / "mine.pt"
    torch.save(content, path)
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def is_one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


def dtypes(folder: Path) -> set[torch.dtype]:
    return {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()}


def test_the_program_writes_a_folder_that_loads_here_and_in_transformers(source, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "new" / "hf"
    command = [sys.executable, "-m", "tympan", "convert", str(source), str(folder), "--dtype", "float32"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    n_files, size_mb = len(list(folder.iterdir())), sum(p.stat().st_size for p in folder.iterdir()) / 1e6
    assert ended.stderr == f"wrote {folder}: Hugging Face folder, {n_files} files, {size_mb:.1f} MB\n"
    ours = load_model(folder, device="cpu", dtype="float32", offline=True)
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[50258, 50259, 50359, 50363, 400]])
    with torch.inference_mode():
        expected = theirs(features, decoder_input_ids=tokens).logits
        torch.testing.assert_close(ours.model(features, tokens), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    assert processor.tokenizer(" to the tea").input_ids[1:-1] == [
        50363,
        *ours.tokenizer.encode(" to the tea"),
    ]


def content(path: Path) -> object:
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else path.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], torch.float16), (["--dtype", "float32"], torch.float32), (["--dtype=bfloat16"], torch.bfloat16)],
)
def test_dtype(tympan, source, tmp_path, words, expected) -> None:
    assert tympan("convert", str(source), str(tmp_path / "hf"), *words).code == 0
    assert dtypes(tmp_path / "hf") == {expected}
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["dtype"] == str(expected).removeprefix("torch.")


def test_a_converted_folder_converts_to_itself(tympan, source, tmp_path) -> None:
    assert tympan("convert", str(source), str(tmp_path / "one"), "--to", "hf").code == 0
    assert tympan("convert", str(tmp_path / "one"), str(tmp_path / "two")).code == 0
    one, two = ({p.name: content(p) for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_a_model_by_its_name(tympan, tiny_en, tmp_path) -> None:
    ended = tympan("convert", "tiny.en", str(tmp_path / "hf"))
    assert (ended.code, ended.out) == (0, "")
    assert re.fullmatch(r"wrote .*/hf: Hugging Face folder, 11 files, 79\.\d MB\n", ended.err)
    stored = load_file(tmp_path / "hf" / "model.safetensors")
    own = tiny_en.model.state_dict()
    assert all(torch.equal(tensor.float(), own[name]) for name, tensor in stored.items())


def test_without_the_tokenizer(tympan, source, tmp_path) -> None:
    assert tympan("convert", "--no-tokenizer", str(source), str(tmp_path / "hf")).code == 0
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors"}


def test_a_folder_in_use_is_replaced_only_by_force(tympan, source, tmp_path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    ended = tympan("convert", str(source), str(folder))
    assert (ended.code, ended.out) == (2, "")
    assert "is not empty" in ended.err
    assert is_one_line(ended.err)
    assert (folder / "config.json").read_text() == "{}"
    assert tympan("convert", str(source), str(folder), "--force").code == 0
    assert json.loads((folder / "config.json").read_text())["d_model"] == 6
    assert (folder / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf"]


def test_an_empty_folder_is_taken(tympan, source, tmp_path) -> None:
    assert tympan("convert", str(source), str(tmp_path)).code == 0
    assert dtypes(tmp_path) == {torch.float16}


@pytest.mark.parametrize(
    "trouble",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "x.pt"), 2, "Permission denied (x.pt)"),
        (CheckpointError("broken\nfile"), 2, "broken file"),
    ],
)
def test_a_failure_leaves_nothing(tympan, source, tmp_path, monkeypatch, trouble) -> None:
    fault, code, part = trouble

    def fail(folder: Path, *_state: object, **_settings: object) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise fault

    monkeypatch.setattr("tympan.adapters.hf.saving.save_state", fail)
    ended = tympan("convert", str(source), str(tmp_path / "deep" / "er" / "hf"))
    assert (ended.code, ended.out) == (code, "")
    assert part in ended.err
    assert is_one_line(ended.err)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_not_hidden(tympan, source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tympan.adapters.hf.saving.save_state", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        tympan("convert", str(source), str(tmp_path / "hf"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["no-such-name", "hf"], "no Whisper named 'no-such-name'"),
        (["./nowhere.pt", "hf"], "there is no file or folder './nowhere.pt'"),
        (["medium", "hf"], "HF_HUB_OFFLINE is set"),
        (["someone/something", "hf", "--offline"], "offline=True"),
        (["empty", "hf"], "empty"),
        (["empty", "./empty"], "the same folder"),
        (["file", "empty"], "file"),
        (["empty", "file"], "is a file"),
        (["one"], "expected SRC and DST, but got 1 names"),
        ([], "expected SRC and DST, but got 0 names"),
        (["a", "b", "c"], "expected SRC and DST, but got 3 names"),
        (["a", "b", "--to", "gguf"], "--to"),
        (["a", "b", "--dtype", "int8"], "dtype of hf must be one of float32, float16, bfloat16"),
        (["a", "b", "--dtype", "int7"], "--dtype"),
        (["a", "b", "--frob"], "unknown option --frob"),
    ],
)
def test_the_users_fault_is_one_line_and_leaves_nothing(tympan, tmp_path, monkeypatch, words, part) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    ended = tympan("convert", *words)
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert ended.err.startswith("tympan: ")
    assert is_one_line(ended.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_name_that_is_not_here_is_loaded_from_the_hub(tympan, source, tmp_path, monkeypatch) -> None:
    from tympan.adapters.checkpoints import convert

    asked: list[str] = []
    monkeypatch.chdir(tmp_path)

    def load(name: str, **settings: object) -> Checkpoint:
        assert not settings["offline"]
        asked.append(name)
        return load_checkpoint(source)

    monkeypatch.setattr(convert, "load_checkpoint", load)
    assert tympan("convert", "someone/else", "hf").code == 0
    assert asked == ["someone/else"]


def test_help_names_the_command_and_its_options(tympan) -> None:
    assert "  convert " in tympan("--help").out
    ended = tympan("convert", "--help")
    assert (ended.code, ended.err) == (0, "")
    for option in ("--to", "--dtype", "--tokenizer", "--force", "--offline"):
        assert option in ended.out
    assert "convert" in COMMANDS


def test_a_recording_of_that_name_is_still_reached(tympan, fake) -> None:
    assert tympan("./convert").code == 0
    assert fake.heard == ["./convert"]
