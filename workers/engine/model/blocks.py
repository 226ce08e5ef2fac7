"""Finds the repeated blocks of a model and the weight matrices inside them, by structure and not by family."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from workers.engine.errors import BadSpec, Unsupported
from workers.engine.model.families import keeps_running_state

_MAMBA_INNER = ("mixer.out_proj", "mamba.out_proj")


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The model's repeated blocks, first to last.

    Raises:
        Unsupported: the model keeps no list of them.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise Unsupported("The repeated blocks of this model were not found, so there is no place for an adapter. Choose a soft prompt.")


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


def chosen_matrices(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Names of weight matrices that a person gave: PEFT takes each as the end of a path, and passes over one that it does not find.

    Raises:
        BadSpec: a name stands for no weight matrix of the model.
    """
    paths = [path for path, part in model.named_modules() if isinstance(part, nn.Linear | Conv1D | nn.Embedding)]
    for name in names:
        if not any(path == name or path.endswith(f".{name}") for path in paths):
            raise BadSpec(
                f"No weight matrix of this model is called {name!r}. Those of its blocks are: {', '.join(block_linears(model))}. "
                "Name some of them, or none to adapt all."
            )
    return list(names)


def sublayer_outputs(model: PreTrainedModel) -> dict[str, str]:
    """The last matrix of the attention and of the feed-forward part of a block: what they write is added to the residual stream.

    Returns:
        {"attention": name, "feed_forward": name} within a block.
    Raises:
        Unsupported: one of the two does not end in a matrix as wide as the model (a mixture of experts, for example).
    """
    if model.config.is_encoder_decoder or keeps_running_state(model):
        raise Unsupported("The blocks of this model are not of one kind, so an adapter has no one place in them. Choose LoRA.")
    # BERT's feed-forward output is called output.dense, its attention's attention.output.dense: the path tells them apart.
    block = blocks_of(model)[0]
    width = model.config.hidden_size
    # What writes into the residual stream is as wide as the model and is named last, except where inputs are named after it.
    linears = [name for name, part in block.named_modules() if isinstance(part, nn.Linear | Conv1D) and _width(part) == width]
    has_experts = any("expert" in name for name, _ in block.named_modules())
    places = {
        "attention": [name for name in linears if _is_attention(name)],
        "feed_forward": [] if has_experts else [name for name in linears if not _is_attention(name)],
    }
    for place, names in places.items():
        if not names:
            words = place.replace("_", "-")
            raise Unsupported(
                f"The {words} part of this model's blocks does not end in one matrix, so no adapter can follow it. Choose LoRA."
            )
    return {place: names[-1] for place, names in places.items()}


def _is_attention(name: str) -> bool:
    return "attention" in name.lower() or "attn" in name.lower()


def _width(linear: nn.Module) -> int:
    return int(linear.nf if isinstance(linear, Conv1D) else linear.out_features)  # type: ignore[arg-type]
