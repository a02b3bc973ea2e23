"""`generate` and `detect_language` of `WhisperForConditionalGeneration`, as in transformers 5.4.0.

What is asked is settled here; `generation_run` is the loop over recordings, and the modules beside it are its
steps: prompts, windows, search, segments, results.
"""

# ruff: noqa: ANN401  (what may be asked for is open, and so is what comes back)
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from tympan.adapters.hf.generation import settings
from tympan.adapters.hf.generation.assistant import Assistant
from tympan.adapters.hf.generation.logits_processing import refuse_what_has_no_meaning
from tympan.adapters.hf.generation.results import Kept
from tympan.adapters.hf.generation.run import Run, Sound, Wanted, language_tokens
from tympan.adapters.hf.generation.segments import TimeAxis
from tympan.adapters.hf.generation.streams import WindowStream
from tympan.adapters.hf.generation.windows import Extras, WindowSearch, heard_from
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError
from tympan.model.whisper import Whisper
from tympan.units import FRAMES_PER_POSITION

logger = logging.getLogger(__name__)


class WhisperGenerationMixin:
    """Gives a model `generate` and `detect_language`."""

    config: Any
    generation_config: GenerationConfig | None

    @torch.no_grad()
    def generate(  # noqa: PLR0917  (transformers' order)
        self,
        input_features: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Sequence[Callable[..., Tensor]] | None = None,
        stopping_criteria: Sequence[Callable[..., Tensor]] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None = None,
        synced_gpus: bool = False,
        return_timestamps: bool | None = None,
        task: str | None = None,
        language: str | list[str] | None = None,
        is_multilingual: bool | None = None,
        prompt_ids: Tensor | None = None,
        prompt_condition_type: str | None = None,
        condition_on_prev_tokens: bool | None = None,
        temperature: float | tuple[float, ...] | None = None,
        compression_ratio_threshold: float | None = None,
        logprob_threshold: float | None = None,
        no_speech_threshold: float | None = None,
        num_segment_frames: int | None = None,
        attention_mask: Tensor | None = None,
        time_precision: float = 0.02,
        time_precision_features: float = 0.01,
        return_token_timestamps: bool | None = None,
        return_segments: bool = False,
        return_dict_in_generate: bool | None = None,
        force_unique_generate_call: bool | None = None,
        monitor_progress: Callable[[Tensor], None] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Tokens int64 [B, T] of the speech in `input_features` float [B, M, frames], of any length.

        Up to 3,000 frames (30 s) are one window; longer recordings are decoded window by window, by their
        timestamps (Whisper paper, section 3.8), and need `attention_mask` [B, frames] when B is more than 1.
        Rows are padded with the padding token; prompt and end of text are left out.

        Arguments are those of transformers 5.4.0. `kwargs` are anything that `GenerationConfig` holds, and
        `inputs` (for `input_features`), `encoder_outputs`, `decoder_input_ids`, `decoder_attention_mask`,
        `assistant_model`, `streamer`, `tokenizer` (for `stop_strings`). Thresholds are off unless given; with
        them, windows that fail are decoded again at the next `temperature`. docs/compatibility.md lists what
        differs on purpose.

        Returns instead of the tensor: a record, prompt and end included, with `return_dict_in_generate` and
        no timestamps, or with `force_unique_generate_call`; a dict of "sequences" and, as asked for,
        "segments" and "token_timestamps" float32 [B, T] in seconds.
        Raises OptionError, a ValueError, for arguments that cannot be honoured.
        """
        own = self.generation_config or GenerationConfig()
        config, inputs = settings.settle(own, generation_config, kwargs)
        sound = self._sound(input_features, inputs, num_segment_frames)
        settings.set_return_timestamps(config, return_timestamps, is_short=sound.is_short)
        settings.set_language_and_task(config, language=language, task=task, is_multilingual=is_multilingual)
        settings.set_thresholds(
            config,
            logprob_threshold=logprob_threshold,
            compression_ratio_threshold=compression_ratio_threshold,
            no_speech_threshold=no_speech_threshold,
            condition_on_prev_tokens=condition_on_prev_tokens,
        )
        settings.set_prompt_condition(config, prompt_condition_type)
        refuse_what_has_no_meaning(config)
        if synced_gpus:
            raise OptionError("synced_gpus is not supported: the model has to be whole on one device")
        wanted = Wanted(
            record=bool(settings.first(return_dict_in_generate, config.return_dict_in_generate)),
            segments=return_segments,
            token_times=bool(
                settings.first(return_token_timestamps, getattr(config, "return_token_timestamps", None))
            ),
            single_call=bool(
                settings.first(
                    force_unique_generate_call, getattr(config, "force_unique_generate_call", None)
                )
            ),
        )
        assistant = inputs.get("assistant_model")
        ladder = settings.temperatures(temperature)
        stream = WindowStream(inputs.get("streamer"), is_tentative=len(ladder) > 1)
        search = WindowSearch(
            cast("Whisper", self),
            config,
            ladder=ladder,
            extras=Extras(
                processors=logits_processor or (),
                criteria=stopping_criteria or (),
                prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
                tokenizer=inputs.get("tokenizer"),
                stream=stream,
                assistant=None if assistant is None else Assistant(assistant, cast("Whisper", self)),
            ),
            kept=self._kept(config, wanted, sound),
        )
        run = Run(
            search,
            config,
            sound,
            TimeAxis(
                settings.timestamp_begin(config, self.config.vocab_size),
                time_precision,
                time_precision_features,
            ),
            n_positions=self.config.max_target_positions,
            attention_mask=attention_mask,
            prompt_ids=None if prompt_ids is None else [int(token) for token in prompt_ids],
            first_prompts=_first_prompts(inputs),
            model_config=self.config,
        )
        run.decode_all(monitor_progress, single_call=wanted.single_call)
        stream.end()
        return run.result(wanted)

    @torch.no_grad()
    def detect_language(
        self,
        input_features: Tensor | None = None,
        encoder_outputs: Any = None,
        generation_config: GenerationConfig | None = None,
        num_segment_frames: int = 3000,
    ) -> Tensor:
        """The language tokens int64 [B] of the first window in `input_features` float [B, M, frames].

        `encoder_outputs` are audio states [B, S, D], or a record or tuple that begins with them.
        Raises OptionError unless exactly one of the two is given, and for a model without languages.
        """
        if (input_features is None) == (encoder_outputs is None):
            raise OptionError("give either input_features or encoder_outputs: one of them, not both")
        config = generation_config or self.generation_config or GenerationConfig()
        if getattr(config, "lang_to_id", None) is None:
            raise OptionError(
                "the generation config has no `lang_to_id`: the model does not tell languages apart"
            )
        model = cast("Whisper", self)
        inputs = {} if encoder_outputs is None else {"encoder_outputs": encoder_outputs}
        n_frames = min(num_segment_frames, self.config.max_source_positions * FRAMES_PER_POSITION)
        sound = self._sound(input_features, inputs, n_frames)
        if sound.states is not None:
            heard = heard_from(model, sound.states)
        else:
            windows = [sound.window(row, 0, n_frames) for row in range(sound.n_rows)]
            heard = heard_from(model, model.encode(torch.stack(windows)))
        return language_tokens(model, heard, config)

    def _sound(
        self, input_features: Tensor | None, inputs: Mapping[str, Any], num_segment_frames: int | None
    ) -> Sound:
        """What there is to listen to; raises OptionError for nothing, or too long a window."""
        n_frames = self.config.max_source_positions * FRAMES_PER_POSITION
        if num_segment_frames is not None and not 0 < num_segment_frames <= n_frames:
            raise OptionError(
                f"num_segment_frames must be from 1 to {n_frames}, but got {num_segment_frames}"
            )
        if input_features is None:
            input_features = inputs.get("inputs")
        states = inputs.get("encoder_outputs")
        if input_features is None and states is None:
            raise OptionError("give either input_features or encoder_outputs to generate()")
        if states is not None and not isinstance(states, Tensor):
            states = states[0]
        return Sound(
            features=None if states is not None else input_features,
            states=states,
            n_window_frames=num_segment_frames or n_frames,
            n_encoder_frames=n_frames,
        )

    def _kept(self, config: GenerationConfig, wanted: Wanted, sound: Sound) -> Kept:
        heads = getattr(config, "alignment_heads", None)
        if wanted.token_times:
            if heads is None:
                raise OptionError(
                    "return_token_timestamps needs `alignment_heads` in the generation config, which has none"
                )
            if getattr(config, "task", None) == "translate":
                logger.warning("times of tokens are not reliable with task='translate'")
        return Kept(
            record=wanted.record,
            scores=wanted.record and bool(config.output_scores),
            logits=wanted.record and bool(config.output_logits),
            attentions=wanted.record and bool(config.output_attentions),
            hidden_states=wanted.record and bool(config.output_hidden_states),
            past=wanted.record and sound.is_short and config.use_cache is not False,
            alignment_heads=heads if wanted.token_times else None,
            median_filter_width=self.config.median_filter_width,
        )


def _first_prompts(inputs: Mapping[str, Any]) -> list[list[int]] | None:
    """`decoder_input_ids` as rows, without what `decoder_attention_mask` hides."""
    tokens, mask = inputs.get("decoder_input_ids"), inputs.get("decoder_attention_mask")
    if tokens is None:
        if mask is not None:
            raise OptionError("decoder_attention_mask is about decoder_input_ids, which are not given")
        return None
    if "assistant_model" in inputs:
        raise OptionError("decoder_input_ids do not go with assistant_model: use prompt_ids instead")
    if mask is None:
        return cast("list[list[int]]", tokens.tolist())
    return [row[seen.bool()].tolist() for row, seen in zip(tokens, mask, strict=True)]
