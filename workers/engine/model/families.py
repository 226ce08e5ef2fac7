"""What a model's configuration says before a weight is read: may it run, how long may a row be, may rows share a prefix.

Knows configurations of model families; loads nothing and computes nothing. What no configuration tells is asked of the model
itself (`probe`).
"""

from transformers import PretrainedConfig, PreTrainedModel

from workers.engine.errors import Unsupported

# An encoder family reads both ways unless its configuration says that it is a decoder.
_DECODER_FLAG_FAMILIES = frozenset({"bert", "roberta", "electra", "xlm-roberta", "camembert"})
# Encoder-decoder families that the golden tests have run.
_TEXT_TO_TEXT = frozenset({"t5"})
# They count positions from behind the pad token, so that many positions are never used.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert"})
_NO_LIMIT = 1 << 20


def refuse_unrunnable(source: str, config: PretrainedConfig) -> None:
    """Refuse a family that this engine cannot run, before its weights are read.

    Raises:
        Unsupported: the model is no language model that writes from left to right.
    """
    if config.is_encoder_decoder and config.model_type not in _TEXT_TO_TEXT:
        raise Unsupported(
            f"{source} is an encoder-decoder model of the family {config.model_type}. Of these the engine runs T5 and Flan-T5; "
            "choose one of them or a causal language model."
        )
    if config.model_type in _DECODER_FLAG_FAMILIES and not getattr(config, "is_decoder", False):
        raise Unsupported(
            f"{source} is an encoder: its tokens see what follows. Use a causal language model (is_decoder in its configuration)."
        )


def window_of(config: PretrainedConfig) -> int:
    """Positions that the model has."""
    sizes = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "context_length", "max_seq_len")]
    window = min((int(size) for size in (*sizes, *_steady_positions(config)) if size), default=_NO_LIMIT)
    return window - int(config.pad_token_id or 0) - 1 if config.model_type in _OFFSET_POSITIONS else window


def _steady_positions(config: PretrainedConfig) -> list[int]:
    """Positions up to which LongRoPE (Phi-3, Phi-4) turns every batch alike.

    Beyond them all positions of a batch are turned by other angles as soon as its longest row is that long, so that a row's score
    would depend on its company, and a prefix that was run alone would not be the rows' own.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    return [int(kind["original_max_position_embeddings"]) for kind in kinds if kind.get("rope_type") == "longrope"]


def sliding_of(config: PretrainedConfig) -> int | None:
    """How far back an attention layer looks, where that is less than the whole row."""
    if getattr(config, "use_sliding_window", True) is False:
        return None
    # GPT-Neo has names of its own, and Llama 4 looks back no further than the beginning of a chunk.
    names = ["sliding_window", "attention_chunk_size", *(["window_size"] if config.model_type == "gpt_neo" else [])]
    return min((int(size) for name in names if (size := getattr(config, name, None))), default=None)


def plain_by_design(model: PreTrainedModel) -> str | None:
    """Why rows of this model never share a prefix, or None when it has to be tried."""
    config = model.config
    if config.is_encoder_decoder:
        return "its encoder reads a row both ways, so no part of a row can be run before the row is known"
    if keeps_running_state(model):
        return "some of its layers keep a running state instead of keys and values"
    if getattr(config, "output_router_logits", False):
        return "its experts are balanced by a loss over all tokens of a batch"
    return None


def keeps_running_state(model: PreTrainedModel) -> bool:
    """True for linear attention and state-space layers (Mamba, RWKV, Jamba, Qwen3-Next): what they keep is no list of positions."""
    return bool(getattr(model, "_is_stateful", False))


def sliding_reason(sliding: int | None, longest: int) -> str | None:
    """Why rows of this length must be run whole: a shared prefix would be seen from beyond the model's sliding window.

    Args:
        sliding: tokens that a layer looks back, None for all.
        longest: tokens of the longest row, learned tokens and answer included.
    """
    if sliding is None or longest <= sliding:
        return None
    return f"the longest row has {longest:,} tokens, and the model looks back {sliding:,}"
