"""GPUs that are none: tensors live on the processor, bear the name of a GPU, and an operation over two devices fails as it fails there.

What an operation computes is real, so that a result can be held against the processor's. What it costs, how it rounds and what runs
while Python goes on is not; for that there are the tests marked gpu.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from workers.engine.contract.spec import BackboneRef
from workers.engine.model.backbone import Backbone, assemble_backbone
from workers.engine.model.placement import device_map

CPU = torch.device("cpu")
_aten = torch.ops.aten
# They take tensors of several devices: by copying, by reading one number, or list by list.
_ACROSS = ("_to_copy", "copy_", "_local_scalar_dense", "_foreach", "_fused")
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)


class Pretended(Tensor):
    """A tensor that says that it lies on a GPU. To torch's own code it lies nowhere, so that every way out of it is a copy."""

    held: Tensor
    label: torch.device | None

    @staticmethod
    def __new__(cls, content: Tensor, place: torch.device | None = None, /, requires_grad: bool = False, **known: Any) -> Any:
        if isinstance(content, Pretended):  # as accelerate makes a parameter of a moved one
            return nn.Parameter(content, requires_grad)
        made: Pretended = Tensor._make_wrapper_subclass(
            cls,
            content.size(),
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            device=torch.device("meta"),
        )
        made.held, made.label = content, place
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.label or torch.device("cuda", 0)

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        stays = device in (None, self.device) and dtype in (None, self.dtype)
        return self if stays else super().to(*args, **kwargs)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __getitem__(self, place: Any) -> Tensor:
        return super().__getitem__(_plain_lists(place))

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(_plain_lists(place), value)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _do(func, args, kwargs or {})


def _plain_lists(place: Any) -> Any:
    """torch makes the index tensor of a list without asking anybody."""
    places = place if isinstance(place, tuple) else (place,)
    return tuple(torch.tensor(each) if isinstance(each, list) else each for each in places)


class _Everywhere(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _do(operation, args, kwargs or {})


def _do(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if operation is _aten._fused_sdp_choice.default:
        return 0  # torch's plain attention
    if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
        with _Everywhere():  # without gradients to record, what is made of other operations comes here whole
            return operation.decompose(*args, **kwargs)
    asked = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    label = _device_of(operation, [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)])
    if asked is not None:
        # The device of a pretended tensor as torch's own code sees it: any.
        label = None if asked.type == "meta" else torch.device("cuda", asked.index or 0) if asked.type == "cuda" else CPU
        kwargs = {**kwargs, "device": CPU}
    plain_args, plain_kwargs = tree_map(_held, (args, kwargs))
    found = operation(*plain_args, **plain_kwargs)
    written = operation._schema.arguments[0].alias_info if operation._schema.arguments else None
    if written is not None and written.is_write and isinstance(args[0], Tensor):
        return args[0]
    if isinstance(found, list | tuple) and operation._schema.name.startswith("aten::_foreach"):
        return [_named(each, _label_of(source)) for each, source in zip(found, args[0], strict=True)]
    return tree_map(lambda each: _named(each, label), found)


def _held(thing: Any) -> Any:
    return thing.held if isinstance(thing, Pretended) else thing


def _label_of(tensor: Tensor) -> torch.device | None:
    return tensor.label if isinstance(tensor, Pretended) else CPU


def _named(thing: Any, label: torch.device | None) -> Any:
    if not isinstance(thing, Tensor) or isinstance(thing, Pretended) or label == CPU:
        return thing
    with torch.inference_mode(False):  # torch gives a view of a wrapped tensor a version, which such tensors lack
        return Pretended(thing, label)


def _device_of(operation: Any, tensors: Iterable[Tensor]) -> torch.device | None:
    """The one device of an operation's tensors; numbers may come from the processor, and so may indices."""
    own = list(tensors)
    if not own:
        return CPU
    if operation in _INDEXING or operation._schema.name.split("::")[1].startswith(_ACROSS):
        first = _label_of(own[0])
        if operation in _INDEXING and first and any(_label_of(each) not in (first, CPU, None) for each in own):
            raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({first})")
        return first
    if torch._C._current_graph_task_id() != -1:
        return None  # a backward pass goes where its forward pass was, by rules of torch's own
    devices = {_label_of(each) for each in own if each.dim() or isinstance(each, Pretended)} - {None}
    if len(devices) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {sorted(map(str, devices))} in {operation}")
    if devices:
        return devices.pop()
    return None if any(isinstance(each, Pretended) for each in own) else CPU


@contextmanager
def pretended_gpus(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> Iterator[None]:
    """As if there were so many GPUs."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _Everywhere():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


def moved(backbone: Backbone, spread: bool = False) -> Backbone:
    """The same frozen model on a pretended GPU, or with its second half on another one."""
    model = backbone.model
    if spread:
        room = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        split = device_map(model.config, backbone.dtype, {0: int(room * 0.8), 1: 2 * room})
        assert split is not None
        assert set(split.values()) == {0, 1}, "nothing was moved to the second GPU"
        places = {name: f"cuda:{place}" for name, place in split.items()}
        dispatch_model(model, places, skip_keys=model._skip_keys_device_placement, force_hooks=True)
    else:
        known: dict[int, nn.Parameter] = {}
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    there = nn.Parameter(Pretended(parameter.detach(), torch.device("cuda", 0)), parameter.requires_grad)
                    module._parameters[name] = known.setdefault(id(parameter), there)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = Pretended(buffer, torch.device("cuda", 0))
    return assemble_backbone(BackboneRef("pretended"), model, backbone.tokenizer)
