"""Bottleneck adapters: two small matrices with a bend between them, after the attention and feed-forward parts of every block.

PEFT has none and its registration takes only known names, so the modules and the folder are our own.

The folder: `bottleneck_adapter.safetensors` holds `block_<i>.<attention|feed_forward>.<down|up>.<weight|bias>`, shapes
[width, H], [width], [H, width], [H]; `bottleneck_config.json` says where they sit:
{"format": 1, "placement", "width", "activation", "hidden_size", "layers", "places": {place: name of the matrix within a block}}.
An adapter computes h + up(activation(down(h))) on the output h of its place, before the residual is added.
Source: Houlsby et al. 2019 (both places), Pfeiffer et al. 2020 (after the feed-forward part alone).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from workers.engine.contract.outcome import write_json
from workers.engine.contract.spec import Recipe
from workers.engine.errors import MissingModel
from workers.engine.methods.tuned import Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.blocks import blocks_of, sublayer_outputs
from workers.engine.model.placement import device_of

WEIGHTS = "bottleneck_adapter.safetensors"
CONFIG = "bottleneck_config.json"
_FORMAT = 1
_PLACES = {"houlsby": ("attention", "feed_forward"), "pfeiffer": ("feed_forward",)}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": nn.functional.gelu, "relu": nn.functional.relu, "silu": nn.functional.silu}


class Adapter(nn.Module):
    """[..., H] -> [..., H]: the input plus a correction that is exactly zero at the start."""

    def __init__(self, hidden_size: int, width: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, width)
        self.up = nn.Linear(width, hidden_size)
        self.activation = _ACTIVATIONS[activation]
        # A zero second matrix makes step 0 the base model itself; its gradient is not zero, so learning starts at once.
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        corrected: Tensor = hidden + self.up(self.activation(self.down(hidden)))
        return corrected


@dataclass
class BottleneckTuning(Tuning):
    """Adapters hooked to a backbone whose own modules stay as they are.

    Args:
        adapters: {block_<i>: {place: Adapter}}.
        config: as it stands in the folder.
    """

    adapters: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    config: dict[str, Any] = field(default_factory=dict)
    handles: list[RemovableHandle] = field(default_factory=list)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.adapters.named_parameters() if parameter.requires_grad}

    def trained(self) -> list[nn.Parameter]:
        return list(self.adapters.parameters())

    def write(self, folder: Path) -> None:
        save_file({name: tensor.cpu().contiguous() for name, tensor in self.state().items()}, folder / WEIGHTS, metadata={"format": "pt"})
        write_json(folder / CONFIG, self.config)

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in self.adapters.state_dict().items()}

    def take(self, state: dict[str, Tensor]) -> None:
        self.adapters.load_state_dict(state)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def create_bottleneck(backbone: Backbone, recipe: Recipe) -> BottleneckTuning:
    """Adapters at every place that the recipe asks for; the model computes what it did before.

    Raises:
        Unsupported: the blocks of this model have no such place.
    """
    outputs = sublayer_outputs(backbone.model)
    options = recipe.options
    config = {
        "format": _FORMAT,
        "placement": options["placement"],
        "width": options["width"],
        "activation": options["activation"],
        "hidden_size": backbone.model.config.hidden_size,
        "layers": len(blocks_of(backbone.model)),
        "places": {place: outputs[place] for place in _PLACES[str(options["placement"])]},
    }
    return _attach(backbone, recipe, config)


def load_bottleneck(folder: Path, backbone: Backbone, recipe: Recipe) -> BottleneckTuning:
    """Adapters from their folder, frozen.

    Raises:
        MissingModel: the folder is of another format, or its tensors do not fit what its configuration says.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("format") != _FORMAT:
        raise MissingModel(f"The adapter in {folder.name} has the format {config.get('format')!r}; this version reads {_FORMAT}.")
    tuning = _attach(backbone, recipe, config)
    try:
        tuning.take(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        tuning.remove()
        raise MissingModel(
            f"The tensors of the adapter in {folder.name} do not fit its {CONFIG}. Take the folder from its source again."
        ) from error
    tuning.adapters.requires_grad_(False)
    return tuning


def _attach(backbone: Backbone, recipe: Recipe, config: dict[str, Any]) -> BottleneckTuning:
    adapters, handles = nn.ModuleDict(), []
    for index, block in enumerate(blocks_of(backbone.model)):
        made = {place: Adapter(config["hidden_size"], config["width"], config["activation"]) for place in config["places"]}
        adapters[f"block_{index}"] = nn.ModuleDict(made).to(device_of(block, backbone.device), backbone.dtype)
        for place, name in config["places"].items():
            handles.append(block.get_submodule(name).register_forward_hook(_after(made[place])))
    return BottleneckTuning(recipe, adapters=adapters, config=config, handles=handles)


def _after(adapter: Adapter) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def correct(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, inputs
        corrected: Tensor = adapter(output)
        return corrected

    return correct
