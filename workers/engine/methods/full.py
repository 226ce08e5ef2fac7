"""Full fine-tuning, the reference: every weight of the model learns. The backbone is spent afterwards, so its host is thrown away.

The folder is an ordinary model folder as `save_pretrained` writes it (config.json, safetensors, tokenizer files) beside
PromptLab's manifest; `AutoModelForCausalLM.from_pretrained` loads it, and it can be registered as a model of its own.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from workers.engine.contract.spec import Recipe
from workers.engine.errors import BadSpec, MissingModel, OutOfMemory
from workers.engine.methods.tuned import Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.runtime import free_memory_bytes

# Bytes a weight beside the loaded ones: AdamW's two averages and the best candidate in fp32, the gradient in the model's
# format; a model that is not fp32 has fp32 masters with gradients of their own.
_FP32_BYTES, _OTHER_BYTES = 16, 22


@dataclass
class FullTuning(Tuning):
    """All weights of a backbone."""

    backbone: Backbone | None = None

    @property
    def _model(self) -> nn.Module:
        assert self.backbone is not None, "made by create_full or load_full only"
        model: nn.Module = self.backbone.model
        return model

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self._model.named_parameters() if parameter.requires_grad}

    def trained(self) -> list[nn.Parameter]:
        return list(self._model.parameters())

    def write(self, folder: Path) -> None:
        assert self.backbone is not None
        self.backbone.model.save_pretrained(folder)
        self.backbone.tokenizer.save_pretrained(folder)

    def state(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self._model.named_parameters()}

    def take(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(state[name])

    def remove(self) -> None:
        """The weights stay changed: the fingerprint says so, and the host that holds them is replaced."""
        self._model.requires_grad_(False)


def create_full(backbone: Backbone, recipe: Recipe) -> FullTuning:
    """Let every weight learn, from where it is."""
    backbone.model.requires_grad_(True)
    return FullTuning(recipe, backbone=backbone)


def load_full(folder: Path, backbone: Backbone, recipe: Recipe) -> FullTuning:
    """Put the weights of a fine-tuned folder in the place of the backbone's own, frozen."""
    tuning = FullTuning(recipe, backbone=backbone)
    tuning.take(read_full(folder, backbone))
    return tuning


def read_full(folder: Path, backbone: Backbone) -> dict[str, Tensor]:
    """All weights of a fine-tuned folder by name.

    Raises:
        MissingModel: the folder is not a model of the backbone's kind.
    """
    try:
        tuned = type(backbone.model).from_pretrained(folder, dtype=backbone.dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingModel(f"The fine-tuned model in {folder.name} cannot be loaded: {str(error).splitlines()[0][:200]}") from error
    weights = {name: parameter.detach().to(backbone.device) for name, parameter in tuned.named_parameters()}
    own = {name: parameter.shape for name, parameter in backbone.model.named_parameters()}
    if {name: weight.shape for name, weight in weights.items()} != own:
        raise MissingModel(f"The fine-tuned model in {folder.name} has other matrices than the model it is said to be made of.")
    return weights


def refuse_without_room(backbone: Backbone, folder: Path, limit_bytes: int | None) -> None:
    """Say before the first step whether the weights can learn, and whether the training and its result can fit.

    Args:
        folder: where the result will lie.
        limit_bytes: most memory that this process may use, or None.
    Raises:
        OutOfMemory: memory is short.
        BadSpec: the disk is, or the weights are held in few bits.
    """
    if not all(parameter.is_floating_point() for parameter in backbone.model.parameters()):
        raise BadSpec("Weights that are held in 8 or 4 bits cannot learn. Choose LoRA, or the model in bf16 or fp32.")
    weights = backbone.parameter_count()
    needed = weights * (_FP32_BYTES if backbone.dtype == torch.float32 else _OTHER_BYTES)
    free = free_memory_bytes(backbone.device, limit_bytes)
    if needed > free:
        raise OutOfMemory(
            f"Fine-tuning all {weights:,} weights needs about {needed / 2**30:.1f} GiB beside the model; {free / 2**30:.1f} GiB are free. "
            "Choose LoRA or a smaller model."
        )
    stored = 2 * weights * backbone.dtype.itemsize
    room = shutil.disk_usage(folder).free
    if stored > room:
        raise BadSpec(
            f"The fine-tuned model takes about {stored / 2**30:.1f} GiB on disk while it is written; {room / 2**30:.1f} GiB are free. "
            "Free some space, or choose LoRA."
        )
