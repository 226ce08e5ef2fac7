"""Every model family that the product speaks of, as a configuration of two layers, 32 wide. The rows of the capability matrix."""

from dataclasses import dataclass, field
from typing import Any

_WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 256}
_GROUPED = {**_WIDE, "num_key_value_heads": 2}
_HEADED = {**_GROUPED, "head_dim": 8}
_GEMMA = {**_HEADED, "query_pre_attn_scalar": 8, "sliding_window": 256}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
_LINEAR = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
_T5 = {
    "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 2, "n_positions": 512,
    "initializer_factor": 3.0,
}  # fmt: skip
_BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 256,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One row of the matrix.

    Args:
        title: its name on the pages.
        sizes: fields of the configuration that make it tiny.
        kind: transformers' model type where it is not the row's own key.
    """

    title: str
    sizes: dict[str, Any] = field(default_factory=dict)
    kind: str = ""


FAMILIES: dict[str, Family] = {
    "llama": Family("Llama", _GROUPED),
    "qwen2": Family("Qwen2, Qwen2.5", _GROUPED),
    "qwen3": Family("Qwen3", _HEADED),
    "mistral": Family("Mistral", {**_GROUPED, "sliding_window": 256}),
    "gpt2": Family("GPT-2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "opt": Family(
        "OPT",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 256,
            "word_embed_proj_dim": 32,
            "init_std": 0.2,
        },
    ),
    "gpt_neox": Family("GPT-NeoX, Pythia", _WIDE),
    "gemma": Family("Gemma", _HEADED),
    "gemma2": Family("Gemma 2", _GEMMA),
    "gemma3_text": Family("Gemma 3 (text)", _GEMMA),
    "phi": Family("Phi-1, Phi-2", _WIDE),
    "phi3": Family("Phi-3, Phi-4", _GROUPED),
    "bert": Family("BERT as a decoder", {**_WIDE, "is_decoder": True}),
    "t5": Family("T5, Flan-T5", _T5),
    "mixtral": Family("Mixtral", {**_GROUPED, "num_local_experts": 4}),
    "mamba": Family("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "rwkv": Family("RWKV", {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "context_length": 256}),
    "jamba": Family(
        "Jamba",
        {
            **_GROUPED,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
    ),
    "qwen3_next": Family("Qwen3-Next", {**_HEADED, **_LINEAR, **_EXPERTS, "layer_types": ["linear_attention", "full_attention"]}),
    "encoder": Family("Encoders (BERT, RoBERTa, ELECTRA)", _WIDE, "bert"),
    "bart": Family("BART and other encoder-decoders", _BART),
}
