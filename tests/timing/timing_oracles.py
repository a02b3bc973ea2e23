"""What the tests of word times share: real attention, and a reference model that repeats given weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads
from tympan.model.trace import Trace
from tympan.timing.alignment import crop_to_sound, token_positions


@dataclass(frozen=True)
class Attention:
    """Weights [H, T, S] of all tokens: prompt, text, end of text; probabilities of those of the text."""

    weights: torch.Tensor
    probabilities: np.ndarray
    n_prompt: int

    @property
    def rows(self) -> slice:
        """The queries that chose the text and its end."""
        return slice(self.n_prompt - 1, -1)


@torch.inference_mode()
def attend(transcriber, features, text_tokens, language="en") -> Attention:
    """How `transcriber` attends to the audio while it reads `text_tokens`."""
    model, vocabulary = transcriber.model, transcriber._vocabulary
    prompt = [vocabulary.start_of_transcript]
    if vocabulary.is_multilingual:
        prompt += [vocabulary.languages[language], vocabulary.transcribe]
    prompt.append(vocabulary.no_timestamps)
    trace = Trace.wanting(attentions=True)
    states = model.model.decoder.decode(
        torch.tensor([[*prompt, *text_tokens, vocabulary.end_of_text]]),
        audio=model.listen(model.encode(features[None])),
        trace=trace,
    )
    heads = alignment_heads(model.architecture)
    weights = torch.stack([trace.cross_attentions[layer][0, head] for layer, head in heads])
    chosen = model.project(states)[0, len(prompt) - 1 : -2, : vocabulary.end_of_text].softmax(dim=-1)
    return Attention(weights, chosen[range(len(text_tokens)), text_tokens].numpy(), len(prompt))


def openai_tokenizer(multilingual, language=None):
    """The reference's tokenizer."""
    reference = pytest.importorskip("whisper.tokenizer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the reference leaves its vocabulary file open
        return reference.get_tokenizer(multilingual, language=language)


def with_alignment_heads(twin, architecture):
    """The reference's model, told which heads follow the speech."""
    heads = torch.zeros(twin.dims.n_text_layer, twin.dims.n_text_head, dtype=torch.bool)
    heads[tuple(zip(*alignment_heads(architecture), strict=True))] = True
    twin.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return twin


def alignment_of(attention, n_frames):
    """Where the text of `attention` and its end start."""
    shares = crop_to_sound(attention.weights, n_frames // 2)
    return token_positions(shares, rows=attention.rows, sum_type=np.float64)


class Parrot:
    """A model of the reference's whose heads give the scores [H, T, S] that it is made with."""

    device = torch.device("cpu")

    def __init__(self, scores: torch.Tensor, n_vocabulary: int) -> None:
        layer = torch.nn.Module()
        layer.forward = lambda: (None, scores[None])
        self.decoder = SimpleNamespace(blocks=[SimpleNamespace(cross_attn=layer)])
        self.dims = SimpleNamespace(n_text_layer=1)
        self.alignment_heads = torch.ones(1, scores.shape[0]).to_sparse()
        self.logits = torch.zeros(1, scores.shape[1], n_vocabulary)

    def __call__(self, mel, tokens):
        self.decoder.blocks[0].cross_attn()
        return self.logits
