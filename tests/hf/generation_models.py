"""Small random models, ours and transformers' with the same weights, that decode windows of one second."""

from __future__ import annotations

import torch

from tympan import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

END, START, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = 200, 201, 206, 207, 209, 210, 211
LANGUAGES = {"<|en|>": 202, "<|de|>": 203, "<|fr|>": 204, "<|ja|>": 205}
TIMESTAMPS = 212
WINDOW = 100  # mel frames
N_MELS = 8

SIZES = {
    "vocab_size": TIMESTAMPS + WINDOW // 2 + 1,
    "num_mel_bins": N_MELS,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 40,
    "max_source_positions": WINDOW // 2,
    "max_target_positions": 48,
    "pad_token_id": END,
    "bos_token_id": END,
    "eos_token_id": END,
    "decoder_start_token_id": START,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "median_filter_width": 5,
    "tie_word_embeddings": False,  # tied, a random model repeats the token it reads
}
GENERATION = {
    "max_length": 48,
    "pad_token_id": END,
    "bos_token_id": END,
    "eos_token_id": END,
    "decoder_start_token_id": START,
    "prev_sot_token_id": PREVIOUS,
    "no_timestamps_token_id": NO_TIMESTAMPS,
    "is_multilingual": True,
    "lang_to_id": LANGUAGES,
    "task_to_id": {"transcribe": TRANSCRIBE, "translate": TRANSLATE},
    "alignment_heads": [[0, 1], [2, 0], [2, 3]],
    "max_initial_timestamp_index": 20,
    "suppress_tokens": [3, 5, START, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_SPEECH],
    "begin_suppress_tokens": [7, END],
    "return_timestamps": False,
    "forced_decoder_ids": None,
}
NO_TIMES = {"suppress_tokens": [*range(START, TIMESTAMPS + WINDOW // 2 + 1)]}
"""Without it a random model writes timestamps unasked, and moves on to another window."""


def random_pair(transformers, seed: int = 0, **changes):
    """Our model and transformers' in evaluation mode; `changes` are to the sizes."""
    values = {**SIZES, **changes}
    ours = WhisperForConditionalGeneration(WhisperConfig(**values)).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in ours.named_parameters():
        if "layer_norm" not in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    ours.proj_out.weight.data[END] *= 1.5  # some texts end by themselves
    theirs = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(**values, attn_implementation="eager")
    )
    theirs.load_state_dict(ours.state_dict())
    ours.generation_config = GenerationConfig(**GENERATION)
    theirs.generation_config = transformers.GenerationConfig(**GENERATION)
    return ours, theirs.eval()


def real_pair(transformers, transcriber):
    """Our model and transformers' with the weights of a transcriber, and the checkpoint's settings."""
    from encodings_kept import remember_encodings
    from oracles import transformers_twin, uninitialised
    from tympan.adapters.hf.generation_config import whisper_generation_config

    model = transcriber.model
    architecture = model.architecture
    theirs = transformers_twin(transformers, model)
    settings = whisper_generation_config(architecture, tokenizer=transcriber.tokenizer)
    known = {name: value for name, value in settings.to_dict().items() if value is not None}
    theirs.generation_config = transformers.GenerationConfig(**known)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"):
        setattr(theirs.config, name, known[name])
    with uninitialised():
        ours = WhisperForConditionalGeneration(WhisperConfig.from_dict(theirs.config.to_dict())).eval()
    ours.load_state_dict(model.state_dict())
    remember_encodings(ours.get_encoder(), "encode")
    ours.generation_config = settings
    return ours, theirs


def sound(n_rows: int, n_frames: int, seed: int = 1) -> torch.Tensor:
    """Features float32 [n_rows, mel bins, n_frames] that change over time."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n_rows, N_MELS, max(1, n_frames // 10), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=n_frames)
