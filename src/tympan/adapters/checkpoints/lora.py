"""A base model and an adapter for it -> the model that both are, as peft's `merge_and_unload` makes it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.huggingface import State
from tympan.adapters.checkpoints.parameters import EMBEDDING, PROJECTION, check_parameters
from tympan.adapters.checkpoints.peft import Adapter, Module
from tympan.config import Architecture
from tympan.errors import CheckpointError


def merged(base: Checkpoint, adapter: Adapter) -> Checkpoint:
    """`base` with the adapter in it; what the adapter leaves alone is shared with `base`.

    A matrix is summed in float32 and kept in its dtype. Replacing one of two tied weights unties them; adding
    to one adds to both, since they are one. Rows that an adapter's embedding has more count as new tokens.
    Raises CheckpointError when the adapter is for a model of other names or sizes.
    """
    state, config = _replaced(base, adapter)
    for name, module in adapter.modules.items():
        weight_name = f"{name}.weight"
        if weight_name == PROJECTION and config.tie_word_embeddings:
            weight_name = EMBEDDING
        if weight_name not in state:
            raise CheckpointError(f"{adapter.origin}: {base.origin} has no {weight_name[:100]}")
        where = f"{adapter.origin}: {name[:100]}"
        state[weight_name] = _sum(state[weight_name], module, adapter.scalings[name], where)
        if module.b_bias is not None:
            bias = state.get(f"{name}.bias")
            if bias is None or bias.shape != module.b_bias.shape:
                raise CheckpointError(f"{where} has no bias of {tuple(module.b_bias.shape)} to add to")
            state[f"{name}.bias"] = (bias + module.b_bias.float() * adapter.scalings[name]).to(bias.dtype)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_parameters(shapes, config, f"{adapter.origin} on {base.origin}")
    return replace(base, config=config, state=state)


def _replaced(base: Checkpoint, adapter: Adapter) -> tuple[State, Architecture]:
    """The weights with those in place that the adapter brings whole, and the configuration true of them."""
    config, state = base.config, {**base.state, **adapter.replaced}
    embedding = adapter.replaced.get(EMBEDDING)
    if embedding is not None and embedding.ndim == 2:
        config = replace(config, vocab_size=len(embedding))
    if not config.tie_word_embeddings:
        return state, config
    if PROJECTION not in adapter.replaced:
        old = base.state[EMBEDDING]
        is_apart = embedding is not None and EMBEDDING not in adapter.unwrapped and not adapter.keeps_tie
        if not is_apart or embedding is None or embedding.shape != old.shape or torch.equal(embedding, old):
            return state, config
        state[PROJECTION] = old
    elif state[PROJECTION].shape == state[EMBEDDING].shape and torch.equal(
        state[PROJECTION].float(), state[EMBEDDING].float()
    ):
        del state[PROJECTION]
        return state, config
    return state, replace(config, tie_word_embeddings=False)


def _sum(weight: Tensor, module: Module, scaling: float, where: str) -> Tensor:
    """`weight` and what `module` adds to it, in the dtype of `weight`."""
    turned: Tensor = weight + _product(module, weight, where) * scaling
    if module.magnitude is None:
        return turned.to(weight.dtype)
    if weight.ndim != 2 or module.is_embedding or module.magnitude.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{where}: DoRA can be merged into a matrix alone, with a magnitude for each row"
        )
    lengths = torch.linalg.norm(turned, dim=1).to(turned.dtype)
    return turned.mul_((module.magnitude.float() / lengths)[:, None]).to(weight.dtype)


def _product(module: Module, weight: Tensor, where: str) -> Tensor:
    """The product of the two factors float32, of the shape of `weight`: a matrix, an embedding, a kernel."""
    assert module.a is not None
    assert module.b is not None
    a, b = module.a.float(), module.b.float()
    found = (tuple(a.shape), tuple(b.shape))
    rank = len(a)
    if module.is_embedding:
        expected = ((rank, weight.shape[0]), (*weight.shape[1:2], rank))
    else:
        expected = ((rank, *weight.shape[1:]), (weight.shape[0], rank, *[1] * (weight.ndim - 2)))
    if found != expected:
        raise CheckpointError(
            f"{where} has factors of {found}, but its weight of {tuple(weight.shape)} needs {expected}"
        )
    if module.is_embedding:
        return (b @ a).T
    return (b.flatten(1) @ a.flatten(1)).reshape(weight.shape)
