"""A PEFT adapter (`adapter_config.json`, `adapter_model.safetensors` or `.bin`) -> what it does to a model.

Of the kinds of adapters LoRA is read, with DoRA on matrices: weights that are added to those of a base model,
and others that take their place. `lora` adds them; nothing is added while the model runs.
Source: `tuners/lora` and `utils/save_and_load.py` of peft 0.21.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.files import SETTINGS_BYTES, FileSet
from tympan.adapters.checkpoints.huggingface import State, full_name, read_tensors
from tympan.adapters.checkpoints.weight_files import ADAPTER_CONFIG, adapter_weights
from tympan.errors import CheckpointError

_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.default)?(\.(?P<leaf>weight|bias))?"
)
_WRAPPERS = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")
# Settings under which the weights mean something else than a sum; all are off by default.
_UNREAD = (
    "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "velora_config",
    "monteclora_config", "kasa_config", "layer_replication", "target_parameters", "trainable_token_indices",
    "megatron_config",
)  # fmt: skip
# Beginnings that leave the base model's weights as they are; others take the adapter's out of them.
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")
_MOST_PATTERNS, _LONGEST_PATTERN, _MOST_REPEATS = 2000, 200, 2
_LONGEST_TEXT = 1000  # of a path or a name, which a message spells


@dataclass
class Module:
    """What an adapter adds to one module: LoRA's two factors, and what goes with them."""

    a: Tensor | None = None
    b: Tensor | None = None
    b_bias: Tensor | None = None
    magnitude: Tensor | None = None
    is_embedding: bool = False


@dataclass(frozen=True)
class Adapter:
    """An adapter: the name of its base model, what it adds by module, and what it replaces by parameter.

    `origin` is the file of its weights. All names are Hugging Face's. `scalings` has the factor of each
    module's sum. `unwrapped` are the replaced parameters of modules that the adapter also adds to, which a
    tied one follows.
    """

    origin: str
    base: str
    base_revision: str | None
    keeps_tie: bool
    modules: Mapping[str, Module]
    scalings: Mapping[str, float]
    replaced: Mapping[str, Tensor]
    unwrapped: frozenset[str] = field(default_factory=frozenset)


def read_adapter(files: FileSet) -> Adapter:
    """The adapter in `files`.

    Raises CheckpointError that names the file and the fault: damaged, no LoRA, a kind of LoRA that is no
    sum, factors that do not go together.
    """
    stored = files[ADAPTER_CONFIG]
    settings = _Settings(stored.read_json(SETTINGS_BYTES), str(stored))
    settings.check_kind()
    weights = files[adapter_weights(files)]
    modules, replaced, unwrapped = _sorted_out(read_tensors(weights), str(weights))
    return Adapter(
        origin=str(weights),
        base=settings.base(),
        base_revision=settings.text("revision"),
        keeps_tie=settings.values.get("ensure_weight_tying") is True,
        modules=modules,
        scalings={name: settings.scaling(name, module) for name, module in modules.items()},
        replaced=replaced,
        unwrapped=unwrapped,
    )


def _sorted_out(tensors: State, origin: str) -> tuple[dict[str, Module], State, frozenset[str]]:
    """What the tensors of an adapter add, and what they replace."""
    modules: dict[str, Module] = defaultdict(Module)
    replaced: State = {}
    unwrapped = set()
    for stored_name, tensor in tensors.items():
        name = stored_name.removeprefix(_PREFIX)
        match = _PART.fullmatch(name)
        if match is None:
            ours = full_name(_WRAPPERS.sub("", name))
            replaced[ours] = tensor
            if ".base_layer." in name:
                unwrapped.add(ours)
            continue
        module, part = modules[full_name(match["module"])], match["part"]
        module.is_embedding = module.is_embedding or part.startswith("embedding")
        if match["leaf"] == "bias":
            part += "_bias"
        place = {"A": "a", "B": "b", "embedding_A": "a", "embedding_B": "b", "B_bias": "b_bias",
                 "magnitude_vector": "magnitude"}.get(part)  # fmt: skip
        if place is None:
            raise CheckpointError(f"{origin}: {stored_name[:100]} is no part of a LoRA that can be read")
        setattr(module, place, tensor)
    for name, module in modules.items():
        if module.a is None or module.b is None:
            raise CheckpointError(f"{origin}: {name[:100]} has only one of lora_A and lora_B")
    return dict(modules), replaced, frozenset(unwrapped)


@dataclass(frozen=True)
class _Settings:
    """The content of an `adapter_config.json`, and what it is called in messages."""

    values: Mapping[str, Any]
    origin: str

    def check_kind(self) -> None:
        """Raise CheckpointError for any adapter but a LoRA that is a sum."""
        kind = self.values.get("peft_type")
        if kind != "LORA":
            raise CheckpointError(f"{self.origin}: expected a peft_type of 'LORA', but got {brief(kind)}")
        used = [name for name in _UNREAD if self.values.get(name)]
        if used:
            raise CheckpointError(f"{self.origin}: a LoRA with {', '.join(used)} cannot be merged")
        beginning = self.values.get("init_lora_weights", True)
        if beginning not in _PLAIN_BEGINNINGS:
            raise CheckpointError(
                f"{self.origin}: init_lora_weights={brief(beginning)} changes the base model; save the "
                f"adapter with path_initial_model_for_weight_conversion, which makes it a usual LoRA"
            )

    def base(self) -> str:
        """The name of the base model."""
        name = self.text("base_model_name_or_path")
        if not name:
            raise CheckpointError(f"{self.origin} does not say which model it is for")
        return name

    def text(self, key: str) -> str | None:
        """The text under `key`, or None."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_TEXT or "\0" in value):
            raise CheckpointError(f"{self.origin}: {key} must be text, but it is {brief(value)}")
        return value

    def scaling(self, name: str, module: Module) -> float:
        """What the product of the factors is multiplied by in the module `name`."""
        rank = 0 if module.a is None or not module.a.ndim else len(module.a)
        declared = self._number("r", self.values.get("r", 8))
        if not rank or (rank != declared and not self.values.get("rank_pattern")):
            raise CheckpointError(f"{self.origin}: r is {declared:g}, but {name[:100]} has the rank {rank}")
        alpha = self._number("lora_alpha", self.values.get("lora_alpha", 8))
        for pattern, value in self._patterns("alpha_pattern").items():
            if re.match(rf"(.*\.)?({pattern})$", name):
                alpha = self._number(f"alpha_pattern of {pattern}", value)
                break
        return alpha / (math.sqrt(rank) if self.values.get("use_rslora") else rank)

    def _number(self, key: str, value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) < 1e9:  # type: ignore[arg-type]
            raise CheckpointError(f"{self.origin}: {key} must be a number, but it is {brief(value)}")
        return float(value)  # type: ignore[arg-type]

    def _patterns(self, key: str) -> Mapping[str, Any]:
        """The patterns under `key`, none of which takes long to match."""
        patterns = self.values.get(key) or {}
        if not isinstance(patterns, dict) or len(patterns) > _MOST_PATTERNS:
            raise CheckpointError(f"{self.origin}: {key} must have a number for each of a few names")
        for pattern in patterns:
            is_long = len(pattern) > _LONGEST_PATTERN or len(re.findall(r"[*+?{]", pattern)) > _MOST_REPEATS
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError):
                is_long = True
            if is_long or re.search(r"\)[*+?{]", pattern):
                raise CheckpointError(
                    f"{self.origin}: {key} has the pattern {brief(pattern)}, which is too much"
                )
        return patterns
