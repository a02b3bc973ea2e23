"""The model classes that programs written for transformers know, over the one encoder and decoder.

`WhisperEncoder` and `WhisperDecoder` are the stacks of `tympan.model` with another `forward`: they take and
return what transformers 5.4.0 documents. Everything else is made of the two.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.adapters.hf.cache import DynamicCache, EncoderDecoderCache
from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.generation.generate import WhisperGenerationMixin
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.adapters.hf.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    SequenceClassifierOutput,
)
from tympan.adapters.hf.pretrained import WhisperPreTrainedModel
from tympan.model.audio_encoder import AudioEncoder
from tympan.model.spec_augment import mask_features
from tympan.model.text_decoder import TextDecoder
from tympan.model.threads import Threads
from tympan.model.trace import Trace
from tympan.model.whisper import EncoderDecoder, Whisper

IGNORED_LABEL = -100

Output = TypeVar("Output", bound=ModelOutput)


class WhisperEncoder(WhisperPreTrainedModel, AudioEncoder):
    """Log-mel features to audio states, with transformers' arguments and outputs."""

    _input_embeddings_path = "conv1"

    def __init__(self, config: WhisperConfig) -> None:
        AudioEncoder.__init__(self, config.architecture)
        self.config = config
        self.post_init()

    def forward(  # type: ignore[override]
        self,
        input_features: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Audio states [B, S, D] of `input_features` float [B, M, W].

        Whisper's encoder hears silence as it is: `attention_mask` is taken and has no effect, as there.
        Raises ValueError when W is not what the positions were made for.
        """
        trace = _trace(self.config, output_attentions, output_hidden_states)
        states = self.encode(input_features, trace)
        output = BaseModelOutput(states, _tuple(trace.hidden_states), _tuple(trace.attentions))
        return _returned(output, self.config, return_dict)


class WhisperDecoder(WhisperPreTrainedModel, TextDecoder):
    """Text tokens and audio states to hidden states, with transformers' arguments and outputs."""

    main_input_name = "input_ids"
    _input_embeddings_path = "embed_tokens"

    def __init__(self, config: WhisperConfig) -> None:
        TextDecoder.__init__(self, config.architecture)
        self.config = config
        self.post_init()

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: EncoderDecoderCache | DynamicCache | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions | tuple[Any, ...]:
        """Hidden states [N, T, D] of `input_ids` int64 [N, T] or `inputs_embeds` float [N, T, D].

        They follow what `past_key_values` remembers, which is grown by them. `attention_mask` [N, past + T]
        is zero for tokens not to be looked at. Attention to `encoder_hidden_states` [N, S, D] is left out
        without them; their keys and values are computed once per cache.
        Raises ValueError unless exactly one of tokens and embeddings is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either decoder_input_ids or decoder_inputs_embeds: one of them, not both")
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
            past_key_values = EncoderDecoderCache() if self.config.is_encoder_decoder else DynamicCache()
        trace = _trace(self.config, output_attentions, output_hidden_states)
        states = self.decode(
            input_ids,
            past_key_values.self_attention_cache
            if isinstance(past_key_values, EncoderDecoderCache)
            else past_key_values,
            self._hear(encoder_hidden_states, past_key_values),
            embeddings=inputs_embeds,
            positions=position_ids,
            padding=attention_mask,
            trace=trace,
        )
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states,
            past_key_values=past_key_values,
            hidden_states=_tuple(trace.hidden_states),
            attentions=_tuple(trace.attentions),
            cross_attentions=None if encoder_hidden_states is None else _tuple(trace.cross_attentions),
        )
        return _returned(output, self.config, return_dict)

    def _hear(self, audio_states: Tensor | None, past: EncoderDecoderCache | DynamicCache | None) -> Any:  # noqa: ANN401
        """Keys and values of the audio: those that `past` holds, or new ones, which it then keeps."""
        if audio_states is None:
            return None
        if not isinstance(past, EncoderDecoderCache):
            return self.listen(audio_states)
        if past.cross_attention_cache is None:
            past.cross_attention_cache = self.listen(audio_states)
        return past.cross_attention_cache


class WhisperModel(WhisperPreTrainedModel, EncoderDecoder):
    """Encoder and decoder without the output projection."""

    _encoder_path = "encoder"
    _decoder_path = "decoder"
    _input_embeddings_path = "decoder.embed_tokens"

    encoder: WhisperEncoder
    decoder: WhisperDecoder

    def __init__(self, config: WhisperConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.encoder = WhisperEncoder(config)
        self.decoder = WhisperDecoder(config)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqModelOutput | tuple[Any, ...]:
        """Hidden states [N, T, D] of the decoder for `decoder_input_ids` int64 [N, T], given the audio.

        The audio is `input_features` float [N, M, W], or `encoder_outputs` of an earlier call. In training,
        and where the configuration says so, SpecAugment masks the features within `attention_mask` [N, W].
        Raises ValueError unless exactly one of decoder tokens and embeddings is given.
        """
        heard = self._encode(
            input_features, attention_mask, encoder_outputs, output_attentions, output_hidden_states
        )
        read = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=heard.last_hidden_state,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            position_ids=decoder_position_ids,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        output = Seq2SeqModelOutput(
            last_hidden_state=read.last_hidden_state,
            past_key_values=read.past_key_values,
            decoder_hidden_states=read.hidden_states,
            decoder_attentions=read.attentions,
            cross_attentions=read.cross_attentions,
            encoder_last_hidden_state=heard.last_hidden_state,
            encoder_hidden_states=heard.hidden_states,
            encoder_attentions=heard.attentions,
        )
        return _returned(output, self.config, return_dict)

    def _encode(
        self,
        input_features: Tensor | None,
        attention_mask: Tensor | None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> BaseModelOutput:
        if encoder_outputs is not None:
            return _as_encoder_output(encoder_outputs)
        if input_features is None:
            raise ValueError("give either input_features or encoder_outputs, but got neither")
        heard: BaseModelOutput = self.encoder(
            self._mask_input_features(input_features, attention_mask),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        return heard

    def _mask_input_features(self, input_features: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """SpecAugment in training, where the configuration says so: features [N, M, W] with parts at zero."""
        config = self.config
        if not (self.training and getattr(config, "apply_spec_augment", True)):
            return input_features
        return mask_features(
            input_features,
            attention_mask,
            mask_time_prob=config.mask_time_prob,
            mask_time_length=config.mask_time_length,
            mask_time_min_masks=config.mask_time_min_masks,
            mask_feature_prob=config.mask_feature_prob,
            mask_feature_length=config.mask_feature_length,
            mask_feature_min_masks=config.mask_feature_min_masks,
        )


class WhisperForConditionalGeneration(WhisperGenerationMixin, WhisperPreTrainedModel, Whisper):
    """The whole model, from features to logits; it is also the native `Whisper`: every search runs on it."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"proj_out.weight": "model.decoder.embed_tokens.weight"}

    _encoder_path = "model.encoder"
    _decoder_path = "model.decoder"
    _input_embeddings_path = "model.decoder.embed_tokens"
    _output_embeddings_path = "proj_out"

    model: WhisperModel

    def __init__(self, config: WhisperConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.architecture = config.architecture
        self.model = WhisperModel(config)
        self.proj_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.generation_config = GenerationConfig.from_model_config(config)
        self.precision = None
        self.threads = Threads()
        self._init_weights(self.proj_out)
        self.tie_weights()

    def forward(  # type: ignore[override]
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Logits [N, T, V]; with `labels` int64 [N, T] the mean cross-entropy over those that are not -100.

        Without decoder tokens or embeddings the labels, shifted by one, are the decoder's input. The other
        arguments are `WhisperModel.forward`'s.
        Raises ValueError when the labels are longer than the decoder has positions.
        """
        if labels is not None:
            self._check_labels(labels)
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = shift_tokens_right(
                    labels, self.config.pad_token_id, self.config.decoder_start_token_id
                )
        inner: Seq2SeqModelOutput = self.model(
            input_features,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            past_key_values=past_key_values,
            decoder_inputs_embeds=decoder_inputs_embeds,
            decoder_position_ids=decoder_position_ids,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.proj_out(inner.last_hidden_state)
        rest = {name: value for name, value in inner.items() if name != "last_hidden_state"}
        output = Seq2SeqLMOutput(loss=_loss(logits, labels), logits=logits, **rest)
        return _returned(output, self.config, return_dict)

    def tie_weights(self) -> None:
        """Let the output projection share the token embedding, where the configuration says so."""
        WhisperPreTrainedModel.tie_weights(self)

    def _check_labels(self, labels: Tensor) -> None:
        n_positions = self.config.max_target_positions
        if labels.shape[1] > n_positions:
            raise ValueError(
                f"labels of {labels.shape[1]} tokens are longer than the decoder's {n_positions} positions"
            )


class WhisperDecoderWrapper(WhisperPreTrainedModel):
    """The decoder under the name that a whole model's checkpoint gives it."""

    _decoder_path = "decoder"
    _input_embeddings_path = "decoder.embed_tokens"

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = WhisperDecoder(config)

    def forward(self, *args: object, **kwargs: object) -> object:
        """The decoder's."""
        return self.decoder(*args, **kwargs)


class WhisperForCausalLM(WhisperPreTrainedModel):
    """The decoder with its output projection: a language model of text, or of text and given audio states."""

    main_input_name = "input_ids"
    _decoder_path = "model.decoder"
    _input_embeddings_path = "model.decoder.embed_tokens"
    _output_embeddings_path = "proj_out"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"proj_out.weight": "model.decoder.embed_tokens.weight"}

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = copy.deepcopy(config)
        self.config.is_encoder_decoder = False
        self.model = WhisperDecoderWrapper(self.config)
        self.proj_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.generation_config = GenerationConfig.from_model_config(self.config)
        self._init_weights(self.proj_out)
        self.tie_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | list[Any] | Tensor | None = None,
        past_key_values: EncoderDecoderCache | DynamicCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """Logits [N, T, V] of `input_ids` int64 [N, T], and with `labels` the loss; labels are not shifted.

        `encoder_outputs` are audio states [N, S, D], or a record or tuple that begins with them.
        """
        audio_states = encoder_outputs
        if isinstance(encoder_outputs, (ModelOutput, tuple, list)):
            audio_states = encoder_outputs[0]
        read = self.model.decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=audio_states,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.proj_out(read.last_hidden_state)
        rest = {name: value for name, value in read.items() if name != "last_hidden_state"}
        output = CausalLMOutputWithCrossAttentions(loss=_loss(logits, labels), logits=logits, **rest)
        return _returned(output, self.config, return_dict)


class WhisperForAudioClassification(WhisperPreTrainedModel):
    """The encoder with a classifier of whole recordings: projected, averaged over time, then judged."""

    _encoder_path = "encoder"
    _input_embeddings_path = "encoder.conv1"

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperEncoder(config)
        if config.use_weighted_layer_sum:
            n_layers = config.encoder_layers + 1  # what goes into the first layer counts as one
            self.layer_weights = nn.Parameter(torch.full((n_layers,), 1.0 / n_layers))
        self.projector = nn.Linear(config.d_model, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels or 0)
        self._init_weights(self.projector)
        self._init_weights(self.classifier)

    def forward(
        self,
        input_features: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Logits [B, number of labels] of `input_features` [B, M, W]; with `labels` int64 [B] the loss."""
        if self.config.use_weighted_layer_sum:
            output_hidden_states = True
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_features,
                output_attentions=output_attentions,
                output_hidden_states=output_hidden_states,
                return_dict=True,
            )
        heard = _as_encoder_output(encoder_outputs)
        pooled = self.projector(self._summed(heard)).mean(dim=1)  # [B, projection]
        logits = self.classifier(pooled)
        loss = None if labels is None else F.cross_entropy(logits, labels.to(logits.device).view(-1))
        output = SequenceClassifierOutput(loss, logits, heard.hidden_states, heard.attentions)
        return _returned(output, self.config, return_dict)

    def _summed(self, heard: BaseModelOutput) -> Tensor:
        """The audio states [B, S, D]: the last ones, or the weighted sum of all layers'."""
        if not self.config.use_weighted_layer_sum:
            assert heard.last_hidden_state is not None
            return heard.last_hidden_state
        if heard.hidden_states is None:
            raise ValueError("use_weighted_layer_sum needs encoder_outputs with hidden_states")
        layers = torch.stack(heard.hidden_states, dim=1)  # [B, layers, S, D]
        return (layers * self.layer_weights.softmax(dim=-1).view(-1, 1, 1)).sum(dim=1)


def shift_tokens_right(labels: Tensor, pad_token_id: int | None, decoder_start_token_id: int) -> Tensor:
    """The decoder's input for `labels` int64 [N, T]: the start token, then all labels but the last.

    Labels of -100 become padding. Raises ValueError without a padding token.
    """
    if pad_token_id is None:
        raise ValueError("config.pad_token_id must be set to make the decoder's input from labels")
    start = labels.new_full((labels.shape[0], 1), decoder_start_token_id)
    shifted = torch.cat((start, labels[:, :-1]), dim=1)
    return shifted.masked_fill(shifted == IGNORED_LABEL, pad_token_id)


def _loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    if labels is None:
        return None
    return F.cross_entropy(logits.flatten(0, 1), labels.to(logits.device).flatten())


def _trace(config: WhisperConfig, attentions: bool | None, hidden_states: bool | None) -> Trace:
    """What is to be kept: as asked for, or else as the configuration says."""
    return Trace.wanting(
        attentions=bool(config.output_attentions if attentions is None else attentions),
        hidden_states=bool(config.output_hidden_states if hidden_states is None else hidden_states),
    )


def _tuple(kept: list[Tensor] | None) -> tuple[Tensor, ...] | None:
    return None if kept is None else tuple(kept)


def _as_encoder_output(given: BaseModelOutput | tuple[Any, ...]) -> BaseModelOutput:
    """The record meant by `given`: states, and perhaps hidden states and attentions, in this order."""
    return given if isinstance(given, BaseModelOutput) else BaseModelOutput(*given[:3])


def _returned(output: Output, config: WhisperConfig, return_dict: bool | None) -> Output | tuple[Any, ...]:
    """The record itself, or its values as a tuple where `return_dict` or the configuration is False."""
    wanted = getattr(config, "return_dict", True) if return_dict is None else return_dict
    return output if wanted else output.to_tuple()
