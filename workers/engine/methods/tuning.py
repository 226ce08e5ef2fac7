"""The tuned methods: how each is built on a backbone and what it starts from. PEFT's own terms live here and in `artifacts` only.

A method is one row of `_BUILDERS`. PEFT holds the parameters, so that a saved folder is plain PEFT; start values are set here,
because PEFT's own text initialisation cuts or repeats a text without a word and counts special tokens in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import (
    CPTConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PeftType,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING, TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import EncoderDecoderCache

from workers.engine.contract.recipes import ADAFACTOR_FAMILIES, IN_FRONT, METHODS
from workers.engine.contract.spec import Recipe, RunSpec
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.methods.bottleneck import create_bottleneck
from workers.engine.methods.context import context_loss, context_tokens
from workers.engine.methods.full import create_full
from workers.engine.methods.tuned import OwnLoss, Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.blocks import block_linears, chosen_matrices
from workers.engine.model.families import keeps_running_state
from workers.engine.passes.prefix import PrefixStates, Virtual, embed, run_prefix
from workers.engine.prompts.frame import Frame

WEIGHTS = "adapter_model.safetensors"
NETWORK = "training_state.safetensors"
VECTORS = "prompt_embeddings"  # PEFT's name of a saved soft prompt, [P, H], and of a saved prefix, [P, 2 x layers x width]

_TASK = "CAUSAL_LM"
_HEADS = ("num_attention_heads", "n_head", "num_heads")


@dataclass
class PeftTuning(Tuning):
    """A tuned part that PEFT holds."""

    peft_model: PeftModel = None

    @property
    def is_prompt(self) -> bool:
        return bool(self.peft_model.active_peft_config.is_prompt_learning)

    def virtual(self) -> Virtual:
        if not self.is_prompt:
            return Virtual()
        made = self.peft_model.get_prompt(batch_size=1)
        made = made.self_attention_cache if isinstance(made, EncoderDecoderCache) else made
        if isinstance(made, Tensor):
            return Virtual(vectors=made[0])
        return Virtual(states=PrefixStates(tuple(x.keys for x in made.layers), tuple(x.values for x in made.layers)))

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.peft_model.named_parameters() if p.requires_grad}

    def trained(self) -> list[nn.Parameter]:
        # CPT holds start and change apart and saves their sum.
        return [p for name, p in self.peft_model.named_parameters() if ".default" in name and "delta_embedding" not in name]

    def set_dropout(self, active: bool) -> None:
        for name, module in self.peft_model.named_modules():
            if "lora_dropout" in name:
                module.train(active)

    def own_loss(self) -> OwnLoss | None:
        if self.recipe.method != "cpt":
            return None
        return context_loss(self.peft_model.get_base_model(), self.peft_model.active_peft_config, self.virtual())

    def write(self, folder: Path) -> None:
        """PEFT's own two files, and what it would lose: the network that writes P-tuning's vectors, for a training that goes on."""
        tensors = get_peft_model_state_dict(self.peft_model, save_embedding_layers=False)
        _save(tensors, folder / WEIGHTS)
        if self.recipe.method == "p_tuning":
            _save(self.state(), folder / NETWORK)
        config = self.peft_model.peft_config["default"]
        was_inference, config.inference_mode = config.inference_mode, True
        config.save_pretrained(str(folder))
        config.inference_mode = was_inference

    def state(self) -> dict[str, Tensor]:
        if self.recipe.method == "p_tuning":
            return {name: tensor.detach() for name, tensor in self.peft_model.prompt_encoder["default"].state_dict().items()}
        return dict(get_peft_model_state_dict(self.peft_model, save_embedding_layers=False))

    def take(self, state: dict[str, Tensor]) -> None:
        if not self.is_prompt:
            set_peft_model_state_dict(self.peft_model, state)
            return
        encoder = self.peft_model.prompt_encoder["default"]
        if self.recipe.method == "p_tuning":
            encoder.load_state_dict(state)
            return
        with torch.no_grad():
            encoder.embedding.weight.copy_(state[VECTORS])

    def remove(self) -> None:
        """Leave the backbone with the modules that were loaded."""
        if not self.is_prompt:
            self.peft_model.unload()


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def reserved_positions(recipe: Recipe) -> int:
    """Positions that virtual tokens take before any tuning is built; 0 tokens stands for 'as many as the text has'."""
    return int(recipe.options.get("num_virtual_tokens") or 0)  # type: ignore[arg-type]


def frame_of(spec: RunSpec, backbone: Backbone, reserved: int) -> Frame:
    """The frame that a tuned approach's rows stand in.

    Where the text before the row is replaced, vectors stand in its place; what is learned inside the model leaves the bare row.

    Args:
        reserved: positions of the virtual tokens.
    """
    if spec.recipe.options.get("template_text") != "replaced":
        return Frame(spec, backbone, reserved)
    if spec.recipe.method in IN_FRONT:
        return Frame(spec, backbone, reserved, replaced=True)
    return Frame(replace(spec, template=spec.template.bare()), backbone, reserved)


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
    if recipe.method in _OWN:
        return _OWN[recipe.method](backbone, recipe)
    warnings: list[str] = []
    config, start = _BUILDERS[recipe.method](backbone, frame, recipe, warnings, seed)
    _fit_to_model(config, backbone)
    # Adapters compute in the backbone's dtype; training keeps fp32 masters of them.
    try:
        peft_model = get_peft_model(backbone.model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        # Experts that are one block of weights take neither DoRA nor dropout, for one.
        raise Unsupported(
            f"PEFT cannot put {METHODS[recipe.method].title} with these options on models of the family {backbone.facts['family']}: "
            f"{str(error).rstrip('.')}. Choose plain LoRA without dropout, or a soft prompt."
        ) from error
    # A saved folder names the model, not the path of this machine.
    config.base_model_name_or_path = str(backbone.facts["source"])
    tuning = PeftTuning(recipe, warnings, peft_model)
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
    if recipe.options["optimizer"] == "adafactor" and backbone.facts["family"] not in ADAFACTOR_FAMILIES:
        raise BadSpec(
            f"Adafactor with a step of its own is how soft prompts of T5 are trained; this model is of the family "
            f"{backbone.facts['family']}. Choose the optimizer adamw."
        )
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
        return _decoder_prefix(backbone, recipe, warnings, seed)
    vectors = _start_vectors(backbone, frame, recipe, warnings, seed)
    with torch.no_grad():
        states = run_prefix(backbone.model, vectors.to(backbone.device, backbone.dtype))
    if recipe.options["init"] == "zero":
        states = states.as_zeros()
    layers = [layer[0].transpose(0, 1).flatten(1).cpu() for pair in zip(states.keys, states.values, strict=True) for layer in pair]
    config = PrefixTuningConfig(
        task_type=_TASK,
        num_virtual_tokens=len(vectors),
        num_layers=len(states.keys),
        num_attention_heads=states.keys[0].shape[1],
        token_dim=states.keys[0].shape[1] * states.keys[0].shape[3],
    )
    return config, torch.cat(layers, dim=1).float()  # on the processor: the layers of a large model lie on several GPUs


def _decoder_prefix(backbone: Backbone, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    """Keys and values in front of the decoder's answer. No text of the prompt stands there, so they start from small random numbers."""
    warnings.append(
        "The prefix is for the decoder only: its learned keys and values stand in front of the answer, not of the row, "
        "and start from small random numbers."
    )
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


def _cpt(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    """The vectors start as the written prompt with its examples; PEFT holds each of them near its start and its answers fixed."""
    if backbone.model.config.is_encoder_decoder:
        raise Unsupported("Context-aware prompt tuning learns from what follows the prompt's own answers, and an encoder predicts nothing.")
    is_wide = backbone.model.get_input_embeddings().weight.shape[1] == backbone.model.config.hidden_size
    if not is_wide or not any(hasattr(backbone.model.config, name) for name in _HEADS):
        # PEFT forgets what it saved of both and reads them off the model's configuration.
        raise Unsupported(
            f"PEFT cannot load a context-aware prompt on this model of the family {backbone.facts['family']}, which has no attention heads "
            "or embeddings narrower than itself. Choose a soft prompt."
        )
    context = context_tokens(frame)
    options = recipe.options
    # PEFT scales its bounds to a width of 2,048; ours is a share of the length of this model's embeddings.
    bound = float(options["largest_change"]) * backbone.embedding_rms() * math.sqrt(2048)  # type: ignore[arg-type]
    config = CPTConfig(
        task_type=_TASK,
        cpt_token_ids=list(context.ids),
        cpt_mask=[1] * len(context.ids),
        cpt_tokens_type_mask=list(context.kinds),
        opt_weighted_loss_type="decay",
        opt_loss_decay_factor=options["loss_decay"],
        opt_projection_epsilon=bound,
        opt_projection_format_epsilon=bound,
    )
    return config, None


def _lora(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> _Built:
    options, width = recipe.options, int(backbone.facts["hidden_size"])
    if int(options["rank"]) > width:  # type: ignore[arg-type]
        warnings.append(
            f"The rank {options['rank']} is larger than the model is wide ({width}): what is beyond that costs memory and adds little."
        )
    names: Any = options["target_modules"]
    config = LoraConfig(
        task_type=_TASK,
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        use_rslora=options["variant"] == "rslora",
        use_dora=options["variant"] == "dora",
        target_modules=chosen_matrices(backbone.model, names) if names else block_linears(backbone.model),
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
    "cpt": _cpt,
    "lora": _lora,
    "ia3": _ia3,
}


# Methods that PEFT lacks.
_OWN: dict[str, Callable[[Backbone, Recipe], Tuning]] = {"bottleneck": create_bottleneck, "full": create_full}


def _count(recipe: Recipe) -> int:
    count = int(recipe.options["num_virtual_tokens"])  # type: ignore[arg-type]
    if count < 1:
        raise BadSpec(
            "0 learned tokens means as many as the start text has, and this start is no text. Set num_virtual_tokens to 1 or more."
        )
    return count


def _start_vectors(backbone: Backbone, frame: Frame, recipe: Recipe, warnings: list[str], seed: int) -> Tensor:
    """[P, H] fp32 vectors that learned tokens start from."""
    init = recipe.options["init"]
    generator = torch.Generator().manual_seed(seed)
    if init in ("random", "zero"):  # zero stands for the states that vectors of any kind make
        shape = (_count(recipe), backbone.model.get_input_embeddings().weight.shape[1])
        return torch.randn(shape, generator=generator) * backbone.embedding_rms()
    if init == "vocabulary":
        ids: Sequence[int] = _sample_vocabulary(backbone, _count(recipe), generator)
    elif init == "label_words":
        words = _label_ids(frame)
        ids = _fit(words, reserved_positions(recipe) or len(words), "the label words", warnings)
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
