import json

import pytest
import torch

from tests.workers.engine.fakes import make_backbone, save_model
from workers.engine.contract.spec import BackboneRef
from workers.engine.errors import BadSpec, MissingModel, Unsupported
from workers.engine.model.backbone import load_backbone, source_key


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def load(folder, **overrides):
    return load_backbone(BackboneRef(str(folder), **({"dtype": "fp32", "device": "cpu"} | overrides)))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MissingModel, match="There is no model folder"):
        load(tmp_path / "nothing")


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(MissingModel, match=r"config\.json is missing"):
        load(tmp_path)


def test_weights_in_a_pickle_are_refused(tmp_path):
    folder = save_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(MissingModel, match="no safetensors weights"):
        load(folder)


def test_a_model_that_brings_code_is_refused(tmp_path):
    folder = save_model(tmp_path / "model")
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"}, model_type="evil")

    with pytest.raises(MissingModel, match="run code of its own"):
        load(folder)


def test_a_known_family_with_an_auto_map_is_refused_too(tmp_path):
    folder = save_model(tmp_path / "model")
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})

    with pytest.raises(MissingModel, match="run code of its own"):
        load(folder)


def test_an_encoder_is_refused(tmp_path):
    folder = save_model(tmp_path / "model", "bert")
    edit_config(folder, is_decoder=False)

    with pytest.raises(Unsupported, match="is an encoder"):
        load(folder)


def test_torn_weights_are_one_sentence(tmp_path):
    folder = save_model(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])

    with pytest.raises(MissingModel, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "BertTokenizer"])
def test_a_folder_without_the_tokenizers_words_is_refused(tmp_path, kind):
    """The library makes one without words, to which every text is the same."""
    folder = save_model(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))

    with pytest.raises(MissingModel, match="knows no words: its files are missing"):
        load(folder)


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path):
    folder = save_model(tmp_path / "model")
    edit_config(folder, num_hidden_layers=3)

    with pytest.raises(MissingModel, match="lack"):
        load(folder)


def test_a_hub_id_needs_a_full_commit():
    with pytest.raises(BadSpec, match="full commit of 40 characters"):
        load_backbone(BackboneRef("owner/model"))


def test_the_fingerprint_notices_a_weight_a_module_and_a_hook():
    backbone = make_backbone()
    before = backbone.fingerprint()
    weight = next(backbone.model.parameters())

    with torch.no_grad():
        weight += 1e-3
    assert backbone.fingerprint() != before
    with torch.no_grad():
        weight -= 1e-3
    backbone.model.train()
    assert backbone.fingerprint() != before
    backbone.model.eval()
    handle = backbone.model.register_forward_hook(lambda *args: None)
    assert backbone.fingerprint() != before
    handle.remove()


def test_a_replaced_model_folder_has_another_key(tmp_path):
    folder = save_model(tmp_path / "model")
    before = source_key(BackboneRef(str(folder)))
    save_model(folder, "gpt2")

    assert source_key(BackboneRef(str(folder))) != before


def test_bf16_is_held_as_asked(tmp_path):
    assert load(save_model(tmp_path / "model"), dtype="bf16").dtype == torch.bfloat16


def test_start_tokens_are_read_off_the_tokenizer():
    assert make_backbone(start=True).start_ids == (0,)
    assert make_backbone().start_ids == ()
