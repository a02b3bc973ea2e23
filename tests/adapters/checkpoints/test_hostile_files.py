"""Files made to do harm: each is refused by name within a second, in little memory, and runs nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import time
import zipfile
from dataclasses import asdict

import pytest
import torch
from fuzzing import LONGEST_MESSAGE, PeakMemory, tiny_architecture
from safetensors.torch import save_file

from oracles import random_state
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.errors import CheckpointError

LARGEST_GROWTH_BYTES = 64 << 20
HUGE_BYTES = 100_000_000
OLD_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."


@pytest.fixture(scope="module")
def state():
    return random_state(parameter_shapes(tiny_architecture()), seed=3)


@pytest.fixture
def base(state, vocabulary_folder, tmp_path):
    """A Hugging Face folder of a few kilobytes."""
    folder = tmp_path / "base"
    folder.mkdir()
    shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    values = {"model_type": "whisper", **asdict(tiny_architecture())}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "generation_config.json").write_text("{}", encoding="utf-8")
    save_file(state, folder / "model.safetensors")
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter for it."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    module = "base_model.model.model.decoder.layers.0.self_attn.q_proj"
    shapes = {f"{module}.lora_A.weight": (3, 2), f"{module}.lora_B.weight": (2, 3)}
    save_file(random_state(shapes, seed=5), folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 3}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def refused(path, *words):
    """Loading is refused with all of `words`, soon and in little memory."""
    memory, start = PeakMemory(), time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, offline=True)
    assert time.perf_counter() - start < 1
    assert memory.growth_bytes < LARGEST_GROWTH_BYTES
    assert len(str(caught.value)) < LONGEST_MESSAGE
    for part in words:
        assert part in str(caught.value)


def test_both_folders_load_as_they_are(base, adapter):
    assert load_checkpoint(base).format == "huggingface"
    assert load_checkpoint(adapter).format == "peft"


# --- JSON

JSON_FILES = (
    ("base", "config.json"), ("base", "generation_config.json"), ("base", "tokenizer.json"),
    ("base", "model.safetensors.index.json"), ("adapter", "adapter_config.json"),
)  # fmt: skip
DEEP = {
    "lists": b"[" * 100_000 + b"]" * 100_000,
    "dicts": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a value": b'{"vocab_size":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """100 MB of brackets."""
    path = tmp_path_factory.mktemp("huge") / "huge.json"
    path.write_bytes(b"[" * HUGE_BYTES)
    return path


@pytest.mark.parametrize(("owner", "name"), JSON_FILES)
@pytest.mark.parametrize("depth", DEEP)
def test_json_nested_a_hundred_thousand_deep_is_refused(request, owner, name, depth):
    folder = request.getfixturevalue(owner)
    if name == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(DEEP[depth])
    refused(folder, name)


@pytest.mark.parametrize(("owner", "name"), JSON_FILES)
def test_a_hundred_megabytes_of_brackets_are_refused(request, huge, owner, name):
    folder = request.getfixturevalue(owner)
    if name == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.link(huge, folder / name)
    refused(folder, name)


@pytest.mark.parametrize(
    ("owner", "name"), [("base", "model.safetensors"), ("adapter", "adapter_model.safetensors")]
)
def test_headers_without_bounds_are_refused(request, huge, owner, name):
    path = request.getfixturevalue(owner) / name
    whole = path.read_bytes()
    for n_bytes in (2**63, 2**64 - 1, 2**31, len(whole)):
        path.write_bytes(struct.pack("<Q", n_bytes) + whole[8:])
        refused(path.parent, name, "is no safetensors file")
    for header in DEEP.values():
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        refused(path.parent, name)
    with path.open("wb") as file, huge.open("rb") as brackets:
        file.write(struct.pack("<Q", HUGE_BYTES))
        shutil.copyfileobj(brackets, file)
    refused(path.parent, name, "is no safetensors file")


# --- numbers


@pytest.mark.parametrize(
    "field", ["vocab_size", "d_model", "encoder_layers", "decoder_layers", "max_source_positions",
              "encoder_ffn_dim", "decoder_attention_heads", "num_mel_bins"]
)  # fmt: skip
@pytest.mark.parametrize(
    "value", [10**12, 10**9, 2**63, 2**64, 10**300, 0, -1, 2.0, 1e300, True, False, None, "2", [2], {"2": 2}]
)
def test_absurd_dimensions_are_refused(base, field, value):
    values = {"model_type": "whisper", **asdict(tiny_architecture()), field: value}
    (base / "config.json").write_text(json.dumps(values), encoding="utf-8")
    refused(base, "config.json")


def test_a_number_of_many_digits_is_refused(base):
    text = json.dumps({"model_type": "whisper", **asdict(tiny_architecture())})
    for digits in ("9" * 4000, "9" * 400_000, "1e999", "NaN"):
        spoiled = text.replace('"d_model": 2', f'"d_model": {digits}')
        assert spoiled != text
        (base / "config.json").write_text(spoiled, encoding="utf-8")
        refused(base, "config.json")


# --- places


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "/etc/passwd", "/dev/zero", "a/../b", "..", "", "a\0b"]
)
def test_an_index_points_into_its_folder(base, shard):
    (base / "model.safetensors").unlink()
    index = json.dumps({"weight_map": {"model.encoder.conv1.weight": shard}})
    (base / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    refused(base, "model.safetensors.index.json")


@pytest.mark.skipif(sys.platform == "win32", reason="no devices and pipes among the files")
def test_devices_and_pipes_are_no_files(base, adapter, tmp_path):
    pipe, shard = tmp_path / "pipe", "model-00001-of-00001.safetensors"
    os.mkfifo(pipe)
    for place in ("/dev/zero", str(pipe)):
        settings = {"peft_type": "LORA", "base_model_name_or_path": place, "r": 3}
        (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
        refused(adapter, "adapter_config.json", "is neither a file nor a folder")
        refused(place, place)
        (base / "model.safetensors").unlink(missing_ok=True)
        (base / shard).unlink(missing_ok=True)
        (base / shard).symlink_to(place)
        index = json.dumps({"weight_map": {"model.encoder.conv1.weight": shard}})
        (base / "model.safetensors.index.json").write_text(index, encoding="utf-8")
        refused(base, "model.safetensors.index.json", shard)


@pytest.mark.skipif(sys.platform == "win32", reason="no devices and pipes among the files")
def test_a_configuration_is_a_file(base):
    (base / "config.json").unlink()
    (base / "config.json").symlink_to("/dev/zero")
    refused(base, "has no config.json")


def test_an_adapter_may_be_for_any_name_but_of_a_length(adapter):
    path = adapter / "adapter_config.json"
    for name in (
        "x" * 900,
        "/x" * 450,
        "x/" + "y" * 900,
        "x" * 5000,
        "~nobody-of-this-name/x",
        "a\0b",
        "\ud800",
    ):
        settings = {"peft_type": "LORA", "base_model_name_or_path": name, "r": 3}
        path.write_text(json.dumps(settings), encoding="utf-8")
        refused(adapter, "adapter_config.json")


# --- pickles


class Command:
    """Runs a command of the shell where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin", "small.pt"])
def test_a_pickle_runs_no_command(request, tmp_path, name, is_zip):
    folder = request.getfixturevalue("adapter" if name == "adapter_model.bin" else "base")
    for old in folder.glob("*.safetensors"):
        old.unlink()
    witness = tmp_path / "it-ran"
    torch.save({"x": Command(f"touch {witness}")}, folder / name, _use_new_zipfile_serialization=is_zip)
    refused(folder / name if name == "small.pt" else folder, name, "posix system", "which no weights need")
    assert not witness.exists()


def storage(n_numbers, is_zip):
    """Opcodes of a storage; in the old form the file needs to hold nothing of it."""
    key = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
    return key + long(n_numbers) + (b"tQ" if is_zip else b"NtQ")


def tensor(n_rows, n_columns, is_zip):
    """Opcodes of a tensor with strides of zero, of which the file holds one number."""
    size = b"(" + long(n_rows) + long(n_columns) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(1, is_zip) + b"K\0" + size + b"(K\0K\0t\x89}tR"


def long(number):
    return b"\x8a\x08" + struct.pack("<q", number)


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content


MANY = 10**10
BOMBS = {
    # PyTorch would spell each of its numbers in a message.
    "a storage as a function": lambda is_zip: storage(1 if is_zip else 10**8, is_zip) + b")R",
    "many bytes": lambda is_zip: b"c__builtin__\nbytearray\n" + long(2 * 10**9) + b"\x85R",
    "text twice as long": lambda is_zip: (
        b"c_codecs\nencode\n" * 32 + text(b"a") + text(b"latin1") + b"\x86R" + (text(b"hex") + b"\x86R") * 31
    ),
    "a set of numbers": lambda is_zip: b"c__builtin__\nset\n" + tensor(MANY, 1, is_zip) + b"\x85R",
    "a count of numbers": lambda is_zip: b"ccollections\nCounter\n" + tensor(MANY, 1, is_zip) + b"\x85R",
    "pairs of numbers": lambda is_zip: b"ccollections\nOrderedDict\n" + tensor(MANY, 2, is_zip) + b"\x85R",
    "attributes": lambda is_zip: b"ccollections\nOrderedDict\n)R" + tensor(1, MANY, is_zip) + b"b",
    "attributes in a list": lambda is_zip: (
        b"ccollections\nOrderedDict\n)R]" + tensor(MANY, 1, is_zip) + b"ab"
    ),
    "a function of a function": lambda is_zip: (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nset\nctorch\nTensor\n"
        + tensor(MANY, 1, is_zip) + b"\x85}tR"
    ),
}  # fmt: skip


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("bomb", BOMBS)
def test_calls_that_make_much_of_little_are_refused(base, bomb, is_zip):
    path = write_bomb(base / "small.pt", bomb, is_zip)
    refused(path, "small.pt", "attributes" if bomb.startswith("attributes") else "no weights need")


def write_bomb(path, bomb, is_zip):
    pickle = b"\x80\x02" + BOMBS[bomb](is_zip) + b"."
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (("data.pkl", pickle), ("version", b"3\n"), ("data/0", bytes(4))):
                archive.writestr(f"small/{name}", content)
    else:
        path.write_bytes(OLD_START + pickle + b"\x80\x02]X\x01\0\0\x000a." + struct.pack("<q", 1) + bytes(4))
    return path


def test_what_trainers_leave_beside_the_weights_is_read(base, state):
    """Counters, sets and orders are made by calls, too."""
    import collections

    beside = {
        "milestones": collections.Counter({3: 1}), "seen": {1, 2}, "size": torch.Size([2, 3]),
        "device": torch.device("cpu"), "dtype": torch.float16, "order": collections.OrderedDict(a=1),
        "step": torch.tensor(3), "weight": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    named = {name.replace("model.", "", 1): weight for name, weight in state.items()}
    (base / "model.safetensors").unlink()
    order = collections.OrderedDict(named)
    order._metadata = collections.OrderedDict({"": {"version": 1}})
    for is_zip in (True, False):
        torch.save(order, base / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
        assert load_checkpoint(base).state.keys() == state.keys()
        torch.save({"state": named, **beside}, base / "small.pt", _use_new_zipfile_serialization=is_zip)
        refused(base / "small.pt", "expected one set of weights by openai-whisper's names")


def test_memory_is_measured():
    """A reader that takes a file of 100 MB in whole would not go unseen."""
    memory = PeakMemory()
    assert memory.growth_bytes < LARGEST_GROWTH_BYTES
    content = bytes(range(256)) * (HUGE_BYTES // 256)
    assert len(content) == HUGE_BYTES
    if sys.platform == "linux":
        assert memory.growth_bytes > LARGEST_GROWTH_BYTES
