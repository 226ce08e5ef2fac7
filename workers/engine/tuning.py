"""The tuned methods: how each is built on a backbone and what it starts from. PEFT's own terms live here and in `artifacts` only.

A method is one row of `_BUILDERS`. PEFT holds the parameters, so that a saved folder is plain PEFT; start values are set here,
because PEFT's own text initialisation cuts or repeats a text without a word and counts special tokens in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PeftType,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING, TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
from torch import Tensor, nn
from transformers import EncoderDecoderCache
from transformers.pytorch_utils import Conv1D

from workers.engine.backbone import Backbone
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.families import keeps_running_state
from workers.engine.frame import Frame
from workers.engine.prefix import PrefixStates, Virtual, embed, run_prefix
from workers.engine.spec import Recipe

_TASK = "CAUSAL_LM"
_MAMBA_INNER = ("mixer.out_proj", "mamba.out_proj")


@dataclass
class Tuning:
    """A tuned part on a frozen backbone, in training or ready for use."""

    recipe: Recipe
    peft_model: PeftModel
    warnings: list[str] = field(default_factory=list)

    @property
    def is_prompt(self) -> bool:
        """True when the learned part stands in front of the row, False when it sits inside the model's modules."""
        return bool(self.peft_model.active_peft_config.is_prompt_learning)

    def virtual(self) -> Virtual:
        """The learned part in front of a row as it is now, differentiable during training."""
        if not self.is_prompt:
            return Virtual()
        made = self.peft_model.get_prompt(batch_size=1)
        made = made.self_attention_cache if isinstance(made, EncoderDecoderCache) else made
        if isinstance(made, Tensor):
            return Virtual(vectors=made[0])
        return Virtual(states=PrefixStates(tuple(x.keys for x in made.layers), tuple(x.values for x in made.layers)))

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name; everything else is frozen."""
        return {name: p for name, p in self.peft_model.named_parameters() if p.requires_grad}

    def trained(self) -> list[nn.Parameter]:
        """Parameters that belong to the tuned part, trainable now or frozen after loading."""
        return [p for name, p in self.peft_model.named_parameters() if ".default" in name]

    def learning_rate(self, backbone: Backbone) -> float:
        """Absolute step size; soft prompts give theirs as a multiple of the typical embedding coordinate."""
        rate = float(self.recipe.options["learning_rate"])  # type: ignore[arg-type]
        return rate * backbone.embedding_rms() if self.recipe.method == "prompt_tuning" else rate

    def set_dropout(self, active: bool) -> None:
        """Switch the tuned part's own dropout; the frozen model's stays off always."""
        for name, module in self.peft_model.named_modules():
            if "lora_dropout" in name:
                module.train(active)

    def remove(self) -> None:
        """Take the tuned part off the backbone, whose modules are then the ones that were loaded."""
        if not self.is_prompt:
            self.peft_model.unload()


def reserved_positions(recipe: Recipe) -> int:
    """Positions that virtual tokens take before any tuning is built; 0 tokens stands for 'as many as the text has'."""
    return int(recipe.options.get("num_virtual_tokens") or 0)  # type: ignore[arg-type]


def replaces_text(recipe: Recipe) -> bool:
    """True when the learned vectors stand in place of the prompt's text before the row."""
    return recipe.options.get("template_text") == "replaced"


def create_tuning(backbone: Backbone, frame: Frame, recipe: Recipe, seed: int) -> Tuning:
    """A tuned part with its start values, ready to train.

    Args:
        backbone: the frozen model.
        frame: the text and the label words that start values may come from.
        recipe: method and options.
        seed: start values that are drawn follow it.
    Raises:
        BadSpec: the options do not fit this prompt or model.
        Unsupported: the method cannot run on this family.
    """
    torch.manual_seed(seed)
    warnings: list[str] = []
    config, start = _BUILDERS[recipe.method](backbone, frame, recipe, warnings, seed)
    _fit_to_model(config, backbone)
    # Adapters compute in the backbone's dtype; training keeps fp32 masters of them.
    peft_model = get_peft_model(backbone.model, config, autocast_adapter_dtype=False)
    # A saved folder names the model, not the path of this machine.
    config.base_model_name_or_path = str(backbone.facts["source"])
    tuning = Tuning(recipe, peft_model, warnings)
    if start is not None:
        weight = peft_model.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            weight.copy_(start.to(weight))
    backbone.model.eval()
    return tuning


def _fit_to_model(config: PeftConfig, backbone: Backbone) -> None:
    """Tell PEFT what it would otherwise read off the configuration, where not every family writes it."""
    config.task_type = "SEQ_2_SEQ_LM" if backbone.is_encoder_decoder else "CAUSAL_LM"
    if not config.is_prompt_learning:
        return
    if config.peft_type == PeftType.PREFIX_TUNING:
        # In front of the decoder's own text; PEFT counts encoder and decoder, and fills the decoder's self-attention.
        config.num_transformer_submodules = 2 if backbone.is_encoder_decoder else 1
        return
    # In front of the encoder's text, which is where the row stands. Some embeddings are narrower than the model (OPT 350M).
    config.num_transformer_submodules = 1
    config.token_dim = backbone.model.get_input_embeddings().weight.shape[1]
    config.num_attention_heads = 1
    config.num_layers = backbone.model.config.num_hidden_layers


_Built = tuple[PeftConfig, Tensor | None]


def _prompt_tuning(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    vectors = _start_vectors(backbone, frame, recipe, warnings, seed)
    return PromptTuningConfig(task_type=_TASK, num_virtual_tokens=len(vectors)), vectors


def _p_tuning(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    options = recipe.options
    config = PromptEncoderConfig(task_type=_TASK, num_virtual_tokens=_count(recipe), encoder_hidden_size=options["encoder_hidden_size"])
    return config, None


def _prefix_tuning(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    """Keys and values start as those of a written text: the states that the text itself would have made."""
    if keeps_running_state(backbone.model):
        raise Unsupported(
            f"Prefix tuning learns keys and values, and models of the family {backbone.facts['family']} keep a running state instead. "
            "Choose a soft prompt or LoRA."
        )
    if backbone.is_encoder_decoder:
        return _decoder_prefix(backbone, recipe, seed)
    vectors = _start_vectors(backbone, frame, recipe, warnings, seed)
    with torch.no_grad():
        states = run_prefix(backbone.model, vectors.to(backbone.dtype))
    layers = [layer[0].transpose(0, 1).flatten(1) for pair in zip(states.keys, states.values, strict=True) for layer in pair]
    config = PrefixTuningConfig(
        task_type=_TASK,
        num_virtual_tokens=len(vectors),
        num_layers=len(states.keys),
        num_attention_heads=states.keys[0].shape[1],
        token_dim=states.keys[0].shape[1] * states.keys[0].shape[3],
    )
    return config, torch.cat(layers, dim=1).float()


def _decoder_prefix(backbone: Backbone, recipe: Recipe, seed: int) -> _Built:
    """Keys and values in front of the decoder's answer. No text of the prompt stands there, so they start from small random numbers."""
    if recipe.options["init"] != "random":
        raise BadSpec("On an encoder-decoder model a prefix stands in front of the answer, where no text is. Choose init 'random'.")
    model = backbone.model.config
    heads, width = int(model.num_heads), int(model.d_kv)
    shape = (_count(recipe), 2 * int(model.num_decoder_layers) * heads * width)
    config = PrefixTuningConfig(
        task_type=_TASK,
        num_virtual_tokens=shape[0],
        num_layers=int(model.num_decoder_layers),
        num_attention_heads=heads,
        token_dim=heads * width,
    )
    return config, torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * backbone.embedding_rms()


def _lora(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    options = recipe.options
    config = LoraConfig(
        task_type=_TASK,
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules=options["target_modules"] or block_linears(backbone.model),
    )
    return config, None


def _ia3(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    family = backbone.model.config.model_type
    targets = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(family)
    inner = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(family)
    if not targets or not inner:
        raise Unsupported(f"IA3 has no known place in models of the family {family}. Choose LoRA, which adapts every block.")
    return IA3Config(task_type=_TASK, target_modules=targets, feedforward_modules=inner), None


_BUILDERS: dict[str, Callable[[Backbone, Frame, Recipe, list[str], int], _Built]] = {
    "prompt_tuning": _prompt_tuning,
    "p_tuning": _p_tuning,
    "prefix_tuning": _prefix_tuning,
    "lora": _lora,
    "ia3": _ia3,
}


def block_linears(model: nn.Module) -> list[str]:
    """Names, within a block, of all weight matrices of the model's repeated blocks; the head and embeddings are left out.

    Blocks may differ (hybrid models), and an encoder-decoder has two rows of them.
    """
    config = model.config
    depths = {config.num_hidden_layers, getattr(config, "num_decoder_layers", None)}  # type: ignore[union-attr]
    rows: dict[str, nn.ModuleList] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) in depths and not any(path.startswith(f"{above}.") for above in rows):
            rows[path] = module
    # PEFT leaves these out of state-space layers, whose kernels read the weights past the module.
    skipped = _MAMBA_INNER if keeps_running_state(model) else ()
    linear = (nn.Linear, Conv1D)
    names = [name for row in rows.values() for block in row for name, part in block.named_modules() if isinstance(part, linear)]
    names = [name for name in dict.fromkeys(names) if name and not name.endswith(skipped)]
    if not names:
        raise Unsupported("The repeated blocks of this model were not found, so LoRA has no matrices to adapt.")
    return names


def _count(recipe: Recipe) -> int:
    count = int(recipe.options["num_virtual_tokens"])  # type: ignore[arg-type]
    if count < 1:
        raise BadSpec(f"num_virtual_tokens must be at least 1 for {recipe.method}.")
    return count


def _start_vectors(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> Tensor:
    """[P, H] fp32 vectors that learned tokens start from."""
    init = recipe.options["init"]
    generator = torch.Generator().manual_seed(seed)
    if init == "random":
        shape = (_count(recipe), backbone.model.get_input_embeddings().weight.shape[1])
        return torch.randn(shape, generator=generator) * backbone.embedding_rms()
    if init == "vocabulary":
        ids: Sequence[int] = _sample_vocabulary(backbone, _count(recipe), generator)
    elif init == "label_words":
        ids = _fit(_label_ids(frame), _count(recipe), "the label words", warnings)
    else:
        ids = _text_ids(backbone, frame, recipe, warnings)
    with torch.no_grad():
        return embed(backbone.model, ids).float().cpu()


def _text_ids(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str]) -> Sequence[int]:
    text = str(recipe.options["init_text"])
    if text:
        ids: Sequence[int] = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
    elif frame.replaced:
        ids = frame.opening_ids
    else:
        ids = frame.opening_ids[len(frame.start_ids()) :]
    if not ids:
        raise BadSpec(
            "The learned tokens are to start from the prompt's text, but there is none before the row. "
            "Give init_text, or choose init 'label_words' or 'vocabulary'."
        )
    return _fit(ids, reserved_positions(recipe) or len(ids), "the text", warnings)


def _label_ids(frame: Frame) -> list[int]:
    if frame.trie is None:
        raise BadSpec("init 'label_words' needs labels; extraction has none. Choose init 'template' or 'vocabulary'.")
    return [token for answer in frame.trie.answers for token in answer.ids[:-1]]


def _fit(ids: Sequence[int], count: int, what: str, warnings: list[str]) -> list[int]:
    """Exactly `count` ids: the last ones of a longer list (they stand next to the row), a shorter list over and over."""
    if len(ids) > count:
        warnings.append(f"The learned tokens start from the last {count} of the {len(ids)} tokens of {what}.")
        return list(ids[-count:])
    if len(ids) < count:
        warnings.append(f"{what.capitalize()} has {len(ids)} tokens; the {count} learned tokens start from it repeated.")
        rounds = -(-count // len(ids))
        return list(islice(list(ids) * rounds, count))
    return list(ids)


def _sample_vocabulary(backbone: Backbone, count: int, generator: torch.Generator) -> list[int]:
    special = set(backbone.tokenizer.all_special_ids)
    allowed = [token for token in range(min(len(backbone.tokenizer), backbone.model.config.vocab_size)) if token not in special]
    picks = torch.randint(len(allowed), (count,), generator=generator)
    return [allowed[pick] for pick in picks.tolist()]
