import importlib.util

import pytest
import torch
from transformers import AutoConfig

from tests.workers.engine.fakes import make_backbone, make_frame, make_items, save_model, trie_of
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.spec import BackboneRef
from workers.engine.errors import BadSpec, OutOfMemory
from workers.engine.methods.full import refuse_without_room
from workers.engine.model import backbone as loading
from workers.engine.model import placement
from workers.engine.model.backbone import load_backbone
from workers.engine.model.placement import device_map, loading_arguments, refuse_few_bits


def scores_of(backbone):
    frame = make_frame(backbone)
    return Scorer(backbone, trie_of(frame)).score([row.ids for row in frame.encode(make_items(4))]).answers


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_few_bits_on_a_cpu_are_refused_with_a_sentence(tmp_path, bits):
    with pytest.raises(BadSpec, match=r"need an NVIDIA GPU, and this worker runs on the CPU\. Choose fp32 or bf16"):
        load_backbone(BackboneRef(str(save_model(tmp_path / "model")), dtype=bits, device="cpu"))


def test_few_bits_without_their_library_name_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(BadSpec, match=r"bitsandbytes, which this worker lacks\. Install it"):
        refuse_few_bits("4bit", torch.device("cuda"))


def test_weights_in_few_bits_are_not_fine_tuned(tmp_path):
    backbone = make_backbone("llama")
    packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False)
    backbone.model.register_parameter("packed", packed)

    with pytest.raises(BadSpec, match=r"held in 8 or 4 bits cannot learn\. Choose LoRA"):
        refuse_without_room(backbone, tmp_path, None)


def test_few_bits_on_a_gpu_take_nf4_with_bf16_arithmetic(monkeypatch, tmp_path):
    monkeypatch.setattr(placement, "refuse_few_bits", lambda wanted, device: None)
    monkeypatch.setattr(placement, "memory_limits", lambda device: {0: 10**9})
    config = AutoConfig.from_pretrained(save_model(tmp_path / "model"))

    told = loading_arguments("4bit", config, torch.bfloat16, torch.device("cuda"))

    assert told["device_map"] == {"": 0}
    assert told["quantization_config"].bnb_4bit_quant_type == "nf4"
    assert told["quantization_config"].bnb_4bit_compute_dtype == torch.bfloat16


def test_a_model_that_fits_its_device_is_told_nothing(tmp_path):
    config = AutoConfig.from_pretrained(save_model(tmp_path / "model"))

    assert loading_arguments("fp32", config, torch.float32, torch.device("cpu")) == {}
    assert device_map(config, torch.float32, {0: 10**9, 1: 10**9}) is None


def test_a_model_larger_than_one_device_is_spread_by_whole_blocks(tmp_path):
    config = AutoConfig.from_pretrained(save_model(tmp_path / "model"))

    spread = device_map(config, torch.float32, {0: 120_000, 1: 10**9})

    assert spread is not None
    assert set(spread.values()) == {0, 1}
    assert {name for name in spread if ".layers." in name} <= {"model.layers.0", "model.layers.1"}


def test_a_model_larger_than_everything_is_refused(tmp_path):
    config = AutoConfig.from_pretrained(save_model(tmp_path / "model"))

    with pytest.raises(OutOfMemory, match="Choose a smaller one"):
        device_map(config, torch.float32, {0: 1000, "cpu": 1000})


def test_a_spread_model_scores_like_one_in_one_place(monkeypatch, tmp_path):
    folder = save_model(tmp_path / "model")
    ref = BackboneRef(str(folder), dtype="fp32", device="cpu")
    whole = scores_of(load_backbone(ref))

    def spread(wanted, config, dtype, device):
        return {"device_map": device_map(config, dtype, {"cpu": 120_000, "disk": 10**9}), "offload_folder": str(tmp_path / "rest")}

    monkeypatch.setattr(loading, "loading_arguments", spread)
    backbone = load_backbone(ref)

    assert any(parameter.is_meta for parameter in backbone.model.parameters()), "nothing was moved out"
    torch.testing.assert_close(scores_of(backbone), whole, atol=1e-5, rtol=0)
