"""Every parameter of a Whisper by its Hugging Face name, with its shape (legend in tympan.model)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tympan.config import Architecture
from tympan.errors import CheckpointError

EMBEDDING = "model.decoder.embed_tokens.weight"
PROJECTION = "proj_out.weight"

_KERNEL_FRAMES = 3
_MOST_NAMES_IN_A_MESSAGE = 6
_LONGEST_NAME_IN_A_MESSAGE = 100

Shape = tuple[int, ...]


def parameter_shapes(config: Architecture) -> dict[str, Shape]:
    """Name -> shape of each parameter that a checkpoint of `config` holds, the projection only if untied."""
    shapes = dict(_encoder(config)) | dict(_decoder(config))
    if not config.tie_word_embeddings:
        shapes[PROJECTION] = (config.vocab_size, config.d_model)
    return shapes


def check_parameters(found: Mapping[str, Shape], config: Architecture, origin: str) -> None:
    """Raise CheckpointError that lists what is missing, unexpected or misshapen among `found`."""
    n_layers = config.encoder_layers + config.decoder_layers
    if n_layers > len(found):
        raise CheckpointError(
            f"{origin}: {n_layers} layers are announced, but only {len(found)} weights are there"
        )
    expected = parameter_shapes(config)
    faults = [
        _listed("missing", sorted(expected.keys() - found.keys())),
        _listed("unexpected", sorted(found.keys() - expected.keys())),
        _listed(
            "of the wrong shape",
            [
                f"{name} is {_spelled(found[name])} instead of {_spelled(shape)}"
                for name, shape in expected.items()
                if name in found and found[name] != shape
            ],
        ),
    ]
    if any(faults):
        raise CheckpointError(
            f"{origin}: the weights do not make a Whisper: {'; '.join(filter(None, faults))}"
        )


def _encoder(config: Architecture) -> Iterator[tuple[str, Shape]]:
    width, root = config.d_model, "model.encoder"
    yield f"{root}.conv1.weight", (width, config.num_mel_bins, _KERNEL_FRAMES)
    yield f"{root}.conv1.bias", (width,)
    yield f"{root}.conv2.weight", (width, width, _KERNEL_FRAMES)
    yield f"{root}.conv2.bias", (width,)
    yield f"{root}.embed_positions.weight", (config.max_source_positions, width)
    for layer in range(config.encoder_layers):
        yield from _block(f"{root}.layers.{layer}", width, config.encoder_ffn_dim, ("self_attn",))
    yield from _norm(f"{root}.layer_norm", width)


def _decoder(config: Architecture) -> Iterator[tuple[str, Shape]]:
    width, root = config.d_model, "model.decoder"
    yield EMBEDDING, (config.vocab_size, width)
    yield f"{root}.embed_positions.weight", (config.max_target_positions, width)
    for layer in range(config.decoder_layers):
        attentions = ("self_attn", "encoder_attn")
        yield from _block(f"{root}.layers.{layer}", width, config.decoder_ffn_dim, attentions)
    yield from _norm(f"{root}.layer_norm", width)


def _block(root: str, width: int, ffn_width: int, attentions: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for attention in attentions:
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{root}.{attention}.{projection}.weight", (width, width)
            if projection != "k_proj":  # Whisper's keys have no bias: it would cancel in the softmax
                yield f"{root}.{attention}.{projection}.bias", (width,)
        yield from _norm(f"{root}.{attention}_layer_norm", width)
    yield f"{root}.fc1.weight", (ffn_width, width)
    yield f"{root}.fc1.bias", (ffn_width,)
    yield f"{root}.fc2.weight", (width, ffn_width)
    yield f"{root}.fc2.bias", (width,)
    yield from _norm(f"{root}.final_layer_norm", width)


def _norm(root: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{root}.weight", (width,)
    yield f"{root}.bias", (width,)


def _spelled(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = len(names) - _MOST_NAMES_IN_A_MESSAGE
    shown = ", ".join(name[:_LONGEST_NAME_IN_A_MESSAGE] for name in names[:_MOST_NAMES_IN_A_MESSAGE])
    return f"{len(names)} {what}: {shown}" + (f" and {rest} more" if rest > 0 else "")


def n_layers(parameters: Iterable[str], root: str) -> int:
    """How many layers `root`, such as "model.encoder", has by the names of its parameters."""
    return len({name.split(".")[3] for name in parameters if name.startswith(f"{root}.layers.")})
