"""What all Hugging Face model classes share: weights in and out, first values, questions about themselves."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tympan.adapters.hf import load_keywords
from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.files import refuse_upload
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.adapters.hf.load_keywords import as_config, changed_config, chosen_device, chosen_dtype
from tympan.adapters.hf.saving import read_state, save_state
from tympan.errors import CheckpointError, OptionError
from tympan.model.attention import Attention
from tympan.model.audio_encoder import AudioEncoder, sinusoids
from tympan.model.precision import choose_precision
from tympan.model.text_decoder import TextDecoder
from tympan.model.whisper import Whisper

logger = logging.getLogger(__name__)

ATTENTION_IMPLEMENTATIONS = ("sdpa", "eager")
_BASE_PREFIX = "model."


class WhisperPreTrainedModel(nn.Module):
    """The base of every model class here; it has no parameters of its own.

    The class that inherits sets `config`, builds its parts, and calls `post_init`.
    """

    config_class = WhisperConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    _tied_weights_keys: ClassVar[dict[str, str]] = {}

    # Where a class has the parts that can be asked for by name.
    _encoder_path: ClassVar[str | None] = None
    _decoder_path: ClassVar[str | None] = None
    _input_embeddings_path: ClassVar[str | None] = None
    _output_embeddings_path: ClassVar[str | None] = None

    config: WhisperConfig
    generation_config: GenerationConfig | None = None
    hf_device_map: Mapping[str, torch.device] | None = None

    # Weights in and out

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: WhisperConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        device_map: str | int | torch.device | Mapping[str, object] | None = None,
        attn_implementation: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **config_changes: object,
    ) -> Any:  # noqa: ANN401  (Self, or Self and the loading info)
        """A model with the weights of a folder, a Hub id or a name such as "base", in evaluation mode.

        `config` is a configuration, of which the model gets a copy, or where one is. `dtype` is a torch type
        or its name; by default, or with "auto", a Hugging Face folder's weights are as its configuration
        says or as they are stored, and those of other formats float32. `device_map` is a device, "auto" (or
        another strategy of transformers'), or a dict with one device for all. `quantize`, which is ours, is
        "int8" for a model of speech to text that decodes in int8 on the CPU, to be used and not trained; its
        `dtype` is then that of the encoder, by default the quickest. Names of `WhisperConfig` in
        `config_changes` change the configuration; `low_cpu_mem_usage`, `use_safetensors` and `weights_only`
        change nothing. Parameters that the checkpoint lacks are initialised and named in a warning, as are
        those that it has too many; with `output_loading_info` the result is (model, info), which lists both.
        Raises CheckpointError when the weights cannot be had or a shape differs (unless
        `ignore_mismatched_sizes`), OptionError for what cannot be done here, such as `quantization_config`
        or `variant`, TypeError for a keyword that is neither documented nor a field.
        """
        name = os.fspath(pretrained_model_name_or_path)
        places: dict[str, Any] = {
            "revision": None if revision == "main" else revision,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
        }
        changes = load_keywords.config_changes(config_changes)
        stored_config, stored_generation, stored = read_state(pretrained_model_name_or_path, **places)
        own = WhisperConfig.from_dict(stored_config) if config is None else as_config(config, places)
        own = changed_config(own, changes)
        own.name_or_path = name
        if attn_implementation is not None:
            own._attn_implementation = attn_implementation
        model = cls._empty_or_new(own, stored)
        info = model._load(stored, ignore_mismatched_sizes=ignore_mismatched_sizes)
        if stored_generation is not None and model.generation_config is not None:
            model.generation_config = GenerationConfig.from_dict(stored_generation)
        wanted = dtype if dtype is not None else torch_dtype
        if quantize is not None:
            _quantize(model, quantize, wanted, device_map)
        else:
            model = model.to(chosen_dtype(wanted, own, stored))
        model.config.dtype = model.dtype
        if device_map is not None:
            model = model.to(chosen_device(device_map))
            model.hf_device_map = {"": model.device}  # a pipeline leaves such a model where it is
        _report(info, cls.__name__, name)
        model.eval()
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "50GB",
        *,
        safe_serialization: bool = True,
    ) -> None:
        """Write `config.json`, `generation_config.json` where there is one, and the weights as safetensors.

        Weights beyond `max_shard_size` are split into shards with an index. Tied weights are written once.
        transformers loads the folder as it is. A process that is not the main one writes nothing.
        Raises OptionError for `push_to_hub`, and for weights as a pickle (`safe_serialization=False`).
        """
        refuse_upload(push_to_hub, {})
        if not safe_serialization:
            raise OptionError(
                "weights are written as safetensors; safe_serialization=False asks for a pickle"
            )
        if not is_main_process:
            return
        os.makedirs(save_directory, exist_ok=True)
        self.config.architectures = [type(self).__name__]
        self.config.dtype = self.dtype
        self.config.save_pretrained(save_directory)
        if self.generation_config is not None:
            self.generation_config.save_pretrained(save_directory)
        state = dict(self.state_dict() if state_dict is None else state_dict)
        if self.config.tie_word_embeddings:
            for tied in self._tied_weights_keys:
                state.pop(tied, None)
        save_state(save_directory, state, max_shard_size=max_shard_size)

    @classmethod
    def _empty_or_new(cls, config: WhisperConfig, stored: Mapping[str, Tensor]) -> Self:
        """A model without numbers, on the meta device, where `stored` has them all; else one with its own."""
        with torch.device("meta"):
            empty = cls(config)
        own = empty.state_dict()
        matched, _ = _match_names(stored, own)
        needed = own.keys() - (empty._tied_weights_keys if config.tie_word_embeddings else {})
        is_whole = needed <= matched.keys() and all(t.shape == own[name].shape for name, t in matched.items())
        return empty if is_whole else cls(config)

    def _load(self, stored: Mapping[str, Tensor], *, ignore_mismatched_sizes: bool) -> dict[str, list[Any]]:
        """Take what fits of `stored`; what does not is listed in the result."""
        own = self.state_dict()
        matched, unexpected = _match_names(stored, own)
        if self.config.tie_word_embeddings:
            for tied, source in self._tied_weights_keys.items():
                if tied not in matched and source in matched:
                    matched[tied] = matched[source]
        mismatched = [name for name, tensor in matched.items() if tensor.shape != own[name].shape]
        if mismatched and not ignore_mismatched_sizes:
            shapes = "; ".join(
                f"{name} is {tuple(matched[name].shape)}, but {tuple(own[name].shape)} is needed"
                for name in mismatched[:8]
            )
            raise CheckpointError(f"the weights do not fit the configuration: {shapes}")
        fitting = {name: tensor for name, tensor in matched.items() if name not in mismatched}
        if next(self.parameters()).is_meta:
            # Copies: a file that is mapped may be written over while the model lives.
            fitting = {name: tensor.clone() for name, tensor in fitting.items()}
            self.load_state_dict(fitting, strict=False, assign=True)
            self.tie_weights()
        else:
            self.load_state_dict(fitting, strict=False)
        return {
            "missing_keys": sorted(own.keys() - matched.keys()),
            "unexpected_keys": sorted(unexpected),
            "mismatched_keys": sorted(mismatched),
        }

    # Initialisation

    def post_init(self) -> None:
        """Tie what is tied, give every parameter its first value, and attend as the configuration says."""
        self.apply(self._init_weights)
        self.tie_weights()
        if self.config._attn_implementation is not None:
            self.set_attn_implementation(self.config._attn_implementation)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights of deviation `init_std`, zero biases; sines for the encoder's positions.

        On the meta device there is nothing to be done, and PyTorch would import its compiler to do it.
        """
        if any(parameter.is_meta for parameter in module.parameters()):
            return
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.normal_(0.0, self.config.init_std)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, self.config.init_std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, AudioEncoder):
            module.embed_positions.weight.copy_(sinusoids(*module.embed_positions.weight.shape))

    def tie_weights(self) -> None:
        """Let parameters that the configuration ties be one and the same."""
        if self.config.tie_word_embeddings:
            for tied, source in self._tied_weights_keys.items():
                owner, _, name = tied.rpartition(".")
                setattr(self.get_submodule(owner), name, self.get_parameter(source))

    # Questions and settings

    @property
    def name_or_path(self) -> str:
        """Where the weights came from; empty for a new model."""
        return self.config.name_or_path

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any part computes its layers again in the backward pass."""
        return any(stack.gradient_checkpointing for stack in self._stacks())

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Compute the layers again in the backward pass instead of keeping what they did.

        `use_reentrant`, the one setting there is, must be False: the other kind is on its way out of PyTorch.
        """
        settings = dict(gradient_checkpointing_kwargs or {})
        if settings.pop("use_reentrant", False) or settings:
            raise ValueError(
                "gradient_checkpointing_kwargs may hold use_reentrant=False alone,"
                f" but got {gradient_checkpointing_kwargs!r}"
            )
        for stack in self._stacks():
            stack.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep what the layers did for the backward pass, as usual."""
        for stack in self._stacks():
            stack.gradient_checkpointing = False

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Compute attention by PyTorch's fused kernels ("sdpa") or written out ("eager"): equal results.

        "flash_attention_2" means the fused kernels too: PyTorch takes its own flash attention where it can.
        """
        if attn_implementation.startswith("flash_attention"):
            attn_implementation = "sdpa"
        if attn_implementation not in ATTENTION_IMPLEMENTATIONS:
            known = ", ".join(ATTENTION_IMPLEMENTATIONS)
            raise ValueError(f"attn_implementation must be one of {known}, but got {attn_implementation!r}")
        for module in self.modules():
            if isinstance(module, Attention):
                module.is_fused = attn_implementation == "sdpa"

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold; tied ones count once."""
        left_out = {
            id(module.weight)
            for module in self.modules()
            if exclude_embeddings and isinstance(module, nn.Embedding)
        }
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if id(parameter) not in left_out and (parameter.requires_grad or not only_trainable)
        )

    def get_encoder(self) -> nn.Module:
        """The encoder; raises AttributeError where there is none."""
        return self._part("encoder", self._encoder_path)

    def get_decoder(self) -> nn.Module:
        """The decoder; raises AttributeError where there is none."""
        return self._part("decoder", self._decoder_path)

    def freeze_encoder(self) -> None:
        """Let no parameter of the encoder be trained."""
        self.get_encoder().requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        """The module that the input enters by: the token embedding, or an encoder's first convolution."""
        return self._part("input embeddings", self._input_embeddings_path)

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another module in the place of the input embeddings."""
        self._replace("input embeddings", self._input_embeddings_path, value)

    def get_output_embeddings(self) -> nn.Module | None:
        """The projection to the vocabulary, or None."""
        path = self._output_embeddings_path
        return None if path is None else self.get_submodule(path)

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Put another projection in the place of the one to the vocabulary."""
        self._replace("output embeddings", self._output_embeddings_path, new_embeddings)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Module:
        """Give the vocabulary `new_num_tokens` tokens, rounded up; new rows start near the mean of the old.

        The embedding, the output projection and `config.vocab_size` follow. Without a number nothing changes.
        """
        embedding = self.get_input_embeddings()
        if not isinstance(embedding, nn.Embedding):
            raise TypeError(f"{type(self).__name__} has no token embeddings to resize")
        wanted = embedding.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            wanted = -(-wanted // pad_to_multiple_of) * pad_to_multiple_of
        if wanted == embedding.num_embeddings:
            return embedding
        resized = _resized_embedding(embedding, wanted)
        self.set_input_embeddings(resized)
        head = self.get_output_embeddings()
        if isinstance(head, nn.Linear):
            if not self.config.tie_word_embeddings:
                head.weight = nn.Parameter(_resized_rows(head.weight, wanted))
            head.out_features = wanted
        self.config.vocab_size = wanted
        self.tie_weights()
        return resized

    def _part(self, what: str, path: str | None) -> nn.Module:
        if path is None:
            raise AttributeError(f"{type(self).__name__} has no {what}")
        return self.get_submodule(path)

    def _replace(self, what: str, path: str | None, value: nn.Module) -> None:
        self._part(what, path)
        owner, _, name = (path or "").rpartition(".")
        setattr(self.get_submodule(owner), name, value)

    def _stacks(self) -> list[AudioEncoder | TextDecoder]:
        return [m for m in self.modules() if isinstance(m, (AudioEncoder, TextDecoder))]


def _quantize(
    model: WhisperPreTrainedModel, quantize: str, dtype: torch.dtype | str | None, device_map: object
) -> None:
    """Let `model` decode in int8; OptionError where it cannot."""
    if not isinstance(model, Whisper):
        raise OptionError(f"quantize is for models of speech to text, and {type(model).__name__} is none")
    device = torch.device("cpu") if device_map is None else chosen_device(device_map)
    name = "auto" if dtype is None else str(dtype).removeprefix("torch.")
    model.set_precision(choose_precision(name, quantize, device))


def _match_names(
    stored: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """`stored` under the names of `own`, whether either says `model.` in front or not; and what is left."""
    matched, unexpected = {}, []
    for name, tensor in stored.items():
        spellings = (name, name.removeprefix(_BASE_PREFIX), _BASE_PREFIX + name)
        fitting = next((spelling for spelling in spellings if spelling in own), None)
        if fitting is None:
            unexpected.append(name)
        else:
            matched[fitting] = tensor
    return matched, unexpected


def _report(info: Mapping[str, list[str]], class_name: str, name: str) -> None:
    """Name in a log warning what was initialised afresh, and what of the checkpoint was left out."""
    fresh = [*info["missing_keys"], *info["mismatched_keys"]]
    if fresh:
        logger.warning(
            "%s: these parameters are not in %s and start untrained: %s", class_name, name, ", ".join(fresh)
        )
    if info["unexpected_keys"]:
        logger.info("%s: %s also holds %s", class_name, name, ", ".join(info["unexpected_keys"]))


@torch.no_grad()
def _resized_rows(weight: Tensor, n_rows: int) -> Tensor:
    """The first `n_rows` rows of `weight` [V, D], then the mean of all rows where there are too few."""
    kept = weight[:n_rows]
    fresh = weight.mean(dim=0, keepdim=True).expand(n_rows - len(kept), -1)
    return torch.cat((kept, fresh)).clone()


def _resized_embedding(embedding: nn.Embedding, n_rows: int) -> nn.Embedding:
    padding_row = embedding.padding_idx
    if padding_row is not None and padding_row >= n_rows:
        padding_row = None
    rows = _resized_rows(embedding.weight, n_rows)
    resized = nn.Embedding(n_rows, embedding.embedding_dim, padding_row, _weight=rows)
    return resized.requires_grad_(embedding.weight.requires_grad)
