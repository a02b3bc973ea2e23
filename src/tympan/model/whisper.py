"""The whole model: encoder, decoder, and the output projection tied to the token embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.model.audio_encoder import AudioEncoder
from tympan.model.cache import AudioCache, CrossAttentionCache, SelfAttentionCache, TextCache
from tympan.model.packed import pack_audio_layers
from tympan.model.precision import Precision
from tympan.model.quantized import quantize_decoder, weight_bytes
from tympan.model.row_cache import RowCache
from tympan.model.silence import Silence
from tympan.model.text_decoder import TextDecoder
from tympan.model.threads import Threads
from tympan.model.trace import Trace

HEAD_NAME = "proj_out.weight"
TIED_NAME = "model.decoder.embed_tokens.weight"

_ENCODER = "model.encoder."
_AUDIO_PROJECTIONS = ("encoder_attn.k_proj", "encoder_attn.v_proj")  # they read the encoder's states


class EncoderDecoder(nn.Module):
    """The two stacks under the names that checkpoints give them."""

    encoder: AudioEncoder
    decoder: TextDecoder

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = AudioEncoder(architecture)
        self.decoder = TextDecoder(architecture)


class Whisper(nn.Module):
    """Whisper with Hugging Face's parameter names, those of `WhisperForConditionalGeneration`."""

    model: EncoderDecoder

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = EncoderDecoder(architecture)
        self.proj_out = nn.Linear(architecture.d_model, architecture.vocab_size, bias=False)
        self.tie_weights()
        self.precision: Precision | None = None
        self.threads = Threads()
        self._silence: Silence | None = None

    @classmethod
    def from_state(
        cls,
        architecture: Architecture,
        state: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
        precision: Precision | torch.dtype,
    ) -> Whisper:
        """The model whose parameters are `state`, converted to `precision`, in evaluation mode.

        `state` is gone through once; pairs need not all be in memory at a time. `proj_out.weight` may be
        missing when it is tied. No parameter is initialised first, and none is held twice. Raises
        CheckpointError that lists names missing or left over and shapes that do not fit.
        """
        if isinstance(precision, torch.dtype):
            precision = Precision.uniform(precision)
        with torch.device("meta"):
            model = cls(architecture)
        pairs = state.items() if isinstance(state, Mapping) else state
        tensors = {name: tensor.to(_dtype_of(name, tensor, precision)) for name, tensor in pairs}
        if architecture.tie_word_embeddings and TIED_NAME in tensors:
            tensors[HEAD_NAME] = tensors[TIED_NAME]
        _check_fit(model.state_dict(), tensors)
        model.load_state_dict(tensors, strict=True, assign=True)
        tensors.clear()  # what becomes int8 is given back at once
        model.tie_weights()
        model.requires_grad_(False).eval()
        model._become(precision)
        return model

    @torch.no_grad()
    def set_precision(self, precision: Precision) -> None:
        """Convert all parameters to `precision`, for inference: they are not trained any more.

        Raises OptionError for int8 where PyTorch has no kernels for it.
        """
        self.requires_grad_(False)
        for name, parameter in self.named_parameters():
            parameter.data = parameter.data.to(_dtype_of(name, parameter, precision))
        self._become(precision)

    def _become(self, precision: Precision) -> None:
        """Be a model of `precision`, to which the parameters have been converted already."""
        decoder = self.model.decoder
        if precision.is_int8:
            quantize_decoder(self)
            pack_audio_layers(self, is_int8=precision.rounds_encoder)
        decoder.rounds_audio = precision.audio_cache == torch.int8
        dtype = torch.bfloat16 if decoder.rounds_audio else precision.audio_cache
        decoder.audio_cache_dtype = dtype if dtype != precision.decoder else None
        decoder.takes_lean_steps = True
        self.precision = precision
        self._silence = None
        self.threads.may_change = precision.is_int8

    def tie_weights(self) -> None:
        """Let the output projection share the token embedding, where the configuration says so."""
        if self.architecture.tie_word_embeddings:
            self.proj_out.weight = self.model.decoder.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.model.encoder.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that features and audio states have."""
        return self.model.encoder.conv1.weight.dtype

    @property
    def n_text_positions(self) -> int:
        """How many tokens a text may have, the prompt counted."""
        return self.architecture.max_target_positions

    def encode(self, features: Tensor) -> Tensor:
        """Audio states [B, S, D] of log-mel `features` [B, M, W] of any float type and device."""
        return self.model.encoder.encode(features.to(device=self.device, dtype=self.dtype))

    def listen(self, audio_states: Tensor) -> CrossAttentionCache:
        """What the decoder's layers need to know of `audio_states` [B, S, D], computed once per window."""
        return self.model.decoder.listen(audio_states)

    def hear_start(self, features: Tensor) -> CrossAttentionCache:
        """`listen` to windows of which only the start is given, `features` [B, M, 2 × S']; silence follows.

        An approximation, in the time that S' positions take: see `Silence`. For inference alone.
        """
        if self._silence is None:
            self._silence = Silence.of(self)
        return self._silence.hear(self, features)

    def for_steps(self, *heard: CrossAttentionCache) -> AudioCache:
        """What steps read of all the windows `heard`, which takes less memory if it is rounded."""
        return self.model.decoder.for_steps(*heard)

    def reads_at_once(self, audio: AudioCache, n_tokens: int) -> bool:
        """Whether so few tokens are read with what `for_steps` gave: see `TextDecoder.reads_at_once`."""
        return self.model.decoder.reads_at_once(audio, n_tokens)

    def allocate_cache(self, n_rows: int, capacity: int | None = None) -> SelfAttentionCache:
        """An empty text cache for `n_rows` rows; see `TextDecoder.allocate_cache`."""
        return self.model.decoder.allocate_cache(n_rows, capacity)

    def row_cache(self) -> RowCache:
        """An empty text cache for rows that come and go."""
        return self.model.decoder.row_cache()

    def graph_steps(self) -> None:
        """Let the decoder's steps be CUDA graphs, for a model that is on such a GPU and stays there."""
        self.model.decoder.graph_steps()

    def hidden(
        self,
        tokens: Tensor,
        text: TextCache,
        audio: AudioCache,
        *,
        positions: Tensor | None = None,
        padding: Tensor | None = None,
        mask: Tensor | None = None,
        trace: Trace | None = None,
        n_last: int | None = None,
    ) -> Tensor:
        """Decoder states [N, T, D] of `tokens` int64 [N, T]; `text` moves on by T positions.

        `positions`, `padding`, `mask`, `trace` and `n_last` are those of `TextDecoder.decode`.
        """
        return self.model.decoder.decode(
            tokens,
            text,
            audio,
            positions=positions,
            padding=padding,
            mask=mask,
            trace=trace,
            n_last=n_last,
        )

    def project(self, hidden: Tensor) -> Tensor:
        """Logits float32 [..., V] of decoder states [..., D]."""
        logits: Tensor = self.proj_out(hidden)
        return logits.float()

    def bytes_per_step(self, n_windows: int) -> int:
        """Bytes of weights and audio that a step of the decoder reads for `n_windows` windows.

        What it writes, the text so far and the logits are left out: they are little beside it.
        """
        decoder = self.model.decoder
        n_bytes = sum(
            weight_bytes(module)
            for name, module in [*decoder.layers.named_modules(), ("proj_out", self.proj_out)]
            if not name.endswith((*_AUDIO_PROJECTIONS, "encoder_attn.kv_proj"))
        )
        return n_bytes + n_windows * decoder.audio_bytes

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._silence = None  # it was made by parameters that are about to change
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_silence": None}

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Logits float32 [B, T, V] of `tokens` int64 [B, T] given `features` [B, M, W], without a past."""
        audio = self.listen(self.encode(features))
        text = self.allocate_cache(tokens.shape[0], tokens.shape[1])
        return self.project(self.hidden(tokens, text, audio))


def _dtype_of(name: str, tensor: Tensor, precision: Precision) -> torch.dtype:
    """The type of the parameter `name`; what is to become int8 stays as it is until then."""
    if name.startswith(_ENCODER) or any(part in name for part in _AUDIO_PROJECTIONS):
        return precision.encoder
    if name == TIED_NAME and precision.is_int8:
        return torch.float16  # looked up, not multiplied: checkpoints hold no more
    if precision.is_int8 and tensor.ndim == 2 and "embed" not in name:
        return tensor.dtype
    return precision.decoder


def _check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless names and shapes agree exactly."""
    faults = [f"{name} is missing" for name in expected.keys() - given.keys()]
    faults += [f"{name} is not Whisper's" for name in given.keys() - expected.keys()]
    faults += [
        f"{name} must be {tuple(expected[name].shape)}, but is {tuple(given[name].shape)}"
        for name in expected.keys() & given.keys()
        if expected[name].shape != given[name].shape
    ]
    if faults:
        shown = "; ".join(sorted(faults)[:8])
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise CheckpointError(f"the weights do not fit the configuration: {shown}{more}")
