"""Adapters merged on load, as peft's `merge_and_unload` merges them."""

from __future__ import annotations

import copy
import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import tympan
from tympan.adapters.checkpoints.convert import convert_checkpoint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import CheckpointError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore:::(?!tympan)")

SETTINGS = {
    "q and v": {"target_modules": ["q_proj", "v_proj"], "r": 4, "lora_alpha": 16},
    "everything": {"target_modules": "all-linear", "r": 3, "lora_alpha": 5},
    "rank-stabilised": {"target_modules": ["fc1", "fc2"], "r": 4, "lora_alpha": 8, "use_rslora": True},
    "patterns": {
        "target_modules": ["q_proj", "out_proj", "k_proj"], "r": 4, "lora_alpha": 8,
        "rank_pattern": {"decoder.layers.1.self_attn.q_proj": 2},
        "alpha_pattern": {r".*encoder_attn\.k_proj": 32},
    },
    "weights decomposed": {"target_modules": ["q_proj", "fc1"], "r": 2, "use_dora": True},
    "with biases": {"target_modules": ["out_proj"], "r": 2, "lora_bias": True},
    "convolutions": {"target_modules": ["conv1", "conv2"], "r": 2},
    "embedding": {"target_modules": ["decoder.embed_tokens", "v_proj"], "r": 2},
    "modules saved whole": {"target_modules": ["q_proj"], "r": 2, "modules_to_save": ["layer_norm", "conv1"]},
}  # fmt: skip


@pytest.fixture
def adapted(twin, hf_folder, tmp_path):
    """Saves a random adapter for the twin; its folder, and the twin's state with it merged in."""

    def make(**settings):
        torch.manual_seed(1)
        model = peft.get_peft_model(copy.deepcopy(twin), peft.LoraConfig(**settings))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * (0.1 if "magnitude" in name else 0.5))
        folder = tmp_path / "adapter"
        model.peft_config["default"].base_model_name_or_path = str(hf_folder)
        model.save_pretrained(folder)
        return folder, model.merge_and_unload().state_dict()

    return make


def assert_close(ours, theirs) -> None:
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=2e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_merged_weights_are_pefts(adapted, twin_state, settings):
    folder, merged = adapted(**settings)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.format == "peft"
    changed = [
        n for n, t in checkpoint.state.items() if n in twin_state and not torch.equal(t, twin_state[n])
    ]
    assert changed
    assert_close(checkpoint.state, merged)


def test_from_pickles_too(adapted):
    folder, merged = adapted(**SETTINGS["q and v"])
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    assert_close(load_checkpoint(folder).state, merged)


def test_any_door_takes_it(adapted, tmp_path):
    folder, merged = adapted(**SETTINGS["q and v"])
    name = "model.decoder.layers.0.self_attn.q_proj.weight"
    assert_close(
        {name: tympan.load_model(folder, device="cpu", dtype="float32").model.state_dict()[name]}, merged
    )
    model = tympan.WhisperForConditionalGeneration.from_pretrained(folder)
    assert_close({name: model.state_dict()[name]}, merged)
    assert_close(load_checkpoint(convert_checkpoint(folder, tmp_path / "merged")).state, merged)


def test_an_adapter_and_its_base_from_the_hub(adapted, hub, tmp_path, empty_cache):
    folder, merged = adapted(**SETTINGS["q and v"])
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": "someone/whisper-mini"})
    )
    hub.folders["someone/adapter"] = folder
    assert_close(load_checkpoint("someone/adapter").state, merged)
    asked = len(hub.requests)
    assert_close(load_checkpoint("someone/adapter", offline=True).state, merged)
    assert len(hub.requests) == asked


def test_a_base_that_is_not_here_says_what_to_do(adapted, hf_folder):
    folder, _ = adapted(**SETTINGS["q and v"])
    shutil.rmtree(hf_folder)
    with pytest.raises(
        CheckpointError, match=r"(?s)is an adapter for .*huggingface.*base_model_name_or_path"
    ):
        load_checkpoint(folder)


def test_an_adapter_for_another_model_is_refused(adapted, hf_folder):
    folder, _ = adapted(**SETTINGS["q and v"])
    weights = load_file(folder / "adapter_model.safetensors")
    first = next(name for name in weights if name.endswith("lora_A.weight"))
    save_file({**weights, first: torch.zeros(4, 23)}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"has factors of \(\(4, 23\)"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "expected a peft_type of 'LORA', but got 'IA3'"),
        ({"base_model_name_or_path": None}, "does not say which model"),
        ({"base_model_name_or_path": "a\0b"}, "base_model_name_or_path must be text"),
        ({"r": 5}, "r is 5, but .* has the rank 4"),
        ({"lora_alpha": "16"}, "lora_alpha must be a number"),
        ({"init_lora_weights": "pissa"}, "pissa.*changes the base model"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "pattern .* too much"),
        ({"use_qalora": True}, "use_qalora cannot be merged"),
    ],
)
def test_what_is_no_plain_sum_is_refused(adapted, changes, message):
    folder, _ = adapted(**SETTINGS["q and v"])
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **changes}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_half_a_pair_is_refused(adapted):
    folder, _ = adapted(**SETTINGS["q and v"])
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("lora_B.weight")))
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="only one of lora_A and lora_B"):
        load_checkpoint(folder)
