import pytest
import torch
from peft import PeftModel

from tests.workers.engine.fakes import (
    FAMILIES,
    cells,
    each_way,
    make_backbone,
    make_frame,
    make_items,
    make_model,
    make_run,
    make_tokenizer,
    trie_of,
)
from tests.workers.engine.training.test_loop import WAYS
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.recipes import EMBEDDING_RMS
from workers.engine.contract.recipes import METHODS as METHODS_OF_ENGINE
from workers.engine.contract.spec import Recipe
from workers.engine.errors import BadSpec, MissingModel
from workers.engine.execute import execute
from workers.engine.methods.tuning import create_tuning

PEFT_WAYS = [way for way, (method, _) in WAYS.items() if METHODS_OF_ENGINE[method].peft_type]


def peft_answers(family, artifact, frame, rows):
    """Summed log-likelihoods by plain PEFT: from_pretrained, one padded-free sequence a row and answer."""
    model = PeftModel.from_pretrained(make_model(family, len(make_tokenizer())), str(artifact)).eval()
    virtual = model.active_peft_config.num_virtual_tokens if model.active_peft_config.is_prompt_learning else 0
    found = torch.empty(len(rows), len(frame.trie.answers))
    for place, row in enumerate(rows):
        for column, answer in enumerate(frame.trie.answers):
            ids = torch.tensor([[*row, *answer.ids]])
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(-1)
            first = logits.shape[0] - ids.shape[1] + len(row) - 1
            assert logits.shape[0] - ids.shape[1] in (0, virtual)
            found[place, column] = sum(logits[first + step, token] for step, token in enumerate(answer.ids))
    return found


@cells(PEFT_WAYS)
def test_the_saved_folder_predicts_the_same_in_plain_peft(tmp_path, family, way):
    method, options = WAYS[way]
    backbone = make_backbone(family)
    rate = 0.5 if METHODS_OF_ENGINE[method].options["learning_rate"].unit == EMBEDDING_RMS else 0.02
    result = execute(make_run(tmp_path, backbone, method, options={"learning_rate": rate, **options}))
    ours = _predictions(tmp_path)
    frame = make_frame(backbone, replaced=method == "cpt")
    rows = [row.ids for row in frame.encode(make_items(4))]

    theirs = peft_answers(family, tmp_path / "out" / "artifact", frame, rows)

    found = torch.tensor([[line["loglikelihoods"][answer.label] for answer in trie_of(frame).answers] for line in ours[:4]])
    torch.testing.assert_close(found, theirs, atol=2e-4, rtol=0)
    assert result.artifact is not None
    extra = ["training_state.safetensors"] if method == "p_tuning" else []
    assert sorted(result.artifact.files) == ["adapter_config.json", "adapter_model.safetensors", "promptlab.json", *extra]


@each_way(WAYS)
def test_saved_then_loaded_gives_equal_scores(tmp_path, way):
    method, options = WAYS[way]
    execute(make_run(tmp_path, make_backbone("qwen2"), method, options={"learning_rate": 0.02, **options}))
    before = _predictions(tmp_path)

    fresh = make_backbone("qwen2")
    again = make_run(tmp_path / "again", fresh, method, artifact=str(tmp_path / "out" / "artifact"), options=options)
    execute(again)

    after = _predictions(tmp_path / "again")
    assert [line["predicted"] for line in after] == [line["predicted"] for line in before]
    for old, new in zip(before, after, strict=True):
        assert new["loglikelihoods"] == pytest.approx(old["loglikelihoods"], abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_vectors_that_copy_the_template_score_like_the_template_at_step_zero(family, method):
    backbone = make_backbone(family, start=True)
    hard, soft = make_frame(backbone), make_frame(backbone, replaced=True)
    recipe = Recipe(method, {"template_text": "replaced", "num_virtual_tokens": 0})
    tuning = create_tuning(backbone, soft, recipe, 0)
    items = make_items(5)

    written = Scorer(backbone, trie_of(hard)).score([row.ids for row in hard.encode(items)]).answers
    with torch.no_grad():
        learned = Scorer(backbone, trie_of(soft), tuning.virtual()).score([row.ids for row in soft.encode(items)]).answers

    torch.testing.assert_close(learned, written, atol=1e-4, rtol=0)


def test_the_start_text_is_never_cut_or_repeated_without_a_word():
    backbone = make_backbone(start=True)
    frame = make_frame(backbone)

    short = create_tuning(backbone, frame, Recipe("prompt_tuning", {"num_virtual_tokens": 4}), 0)
    long = create_tuning(backbone, frame, Recipe("prompt_tuning", {"num_virtual_tokens": 9, "init_text": "card"}), 0)

    assert "last 4 of the" in short.warnings[0]
    assert "repeated" in long.warnings[0]
    start = backbone.model.get_input_embeddings().weight[backbone.start_ids[0]]
    vectors = long.virtual().vectors
    assert vectors is not None
    assert not any(torch.allclose(vector, start) for vector in vectors)


@pytest.mark.parametrize("init", ["label_words", "vocabulary", "random"])
def test_every_start_follows_the_seed(init):
    backbone = make_backbone()
    frame = make_frame(backbone)

    def vectors(seed):
        return create_tuning(backbone, frame, Recipe("prompt_tuning", {"init": init, "num_virtual_tokens": 6}), seed).virtual().vectors

    assert torch.equal(vectors(1), vectors(1))
    assert vectors(1).shape == (6, 32)
    assert init == "label_words" or not torch.equal(vectors(1), vectors(2))


@each_way(way for way, (method, _) in WAYS.items() if not METHODS_OF_ENGINE[method].replaces_weights)
def test_only_the_tuned_part_changes(tmp_path, way):
    method, options = WAYS[way]
    backbone = make_backbone("gpt2")
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    print_before = backbone.fingerprint()

    execute(make_run(tmp_path, backbone, method, options={"learning_rate": 0.02, **options}))

    after = backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert backbone.fingerprint() == print_before


@pytest.mark.parametrize("method", ["lora", "ia3", "bottleneck", "full"])
def test_adapters_compute_what_the_model_did_before_the_first_step(method):
    backbone = make_backbone("llama")
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(4))]
    before = Scorer(backbone, trie_of(frame)).score(rows).answers

    for options in [options for name, options in WAYS.values() if name == method]:
        tuning = create_tuning(backbone, frame, Recipe(method, options), 0)
        after = Scorer(backbone, trie_of(frame), tuning.virtual()).score(rows).answers
        tuning.remove()
        torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_zeros_as_start_of_a_prefix_are_zeros():
    backbone = make_backbone("llama")
    tuning = create_tuning(backbone, make_frame(backbone), Recipe("prefix_tuning", {"init": "zero", "num_virtual_tokens": 3}), 0)

    states = tuning.virtual().states

    assert states is not None
    assert states.length == 3
    assert not any(tensor.any() for tensor in states.tensors)


@each_way(WAYS)
def test_every_tuned_part_writes_free_text(tmp_path, way):
    method, options = WAYS[way]
    rules = Generation(max_new_tokens=3)
    run = make_run(tmp_path, make_backbone("llama"), method, rows=4, task="extraction", labels=(), generation=rules, options=options)

    metrics = execute(run).metrics["test"]

    assert (metrics.n, metrics.errors) == (4, 0)
    assert all(line["completion_tokens"] <= 4 for line in _predictions(tmp_path))


def test_the_same_seed_gives_the_same_run(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        execute(make_run(tmp_path / place, make_backbone(), "lora", options={"max_steps": 5}, seed=7))

    first, second = _predictions(tmp_path / "one"), _predictions(tmp_path / "two")
    assert [line["loglikelihoods"] for line in first] == [line["loglikelihoods"] for line in second]


def test_lora_reaches_all_block_matrices_and_not_the_head():
    backbone = make_backbone("bert")
    tuning = create_tuning(backbone, make_frame(backbone), Recipe("lora"), 0)

    adapted = {name.split(".lora_")[0] for name in tuning.parameters()}

    assert len(adapted) == 2 * 6
    assert not any("cls" in name for name in adapted)


@pytest.mark.parametrize("names", [["nothing"], ["q_proj", "qproj"], ["input_layernorm"]])
def test_matrices_that_the_model_does_not_have_are_refused_with_those_that_it_has(names):
    backbone = make_backbone("llama")

    with pytest.raises(BadSpec, match=f"No weight matrix of this model is called {names[-1]!r}.*self_attn.q_proj, .*mlp.down_proj"):
        create_tuning(backbone, make_frame(backbone), Recipe("lora", {"target_modules": names}), 0)


def test_matrices_that_somebody_names_are_adapted_and_no_others():
    backbone = make_backbone("llama")

    tuning = create_tuning(backbone, make_frame(backbone), Recipe("lora", {"target_modules": ["q_proj", "mlp.up_proj"]}), 0)

    assert {name.split(".lora_")[0].split(".")[-1] for name in tuning.parameters()} == {"q_proj", "up_proj"}


def test_a_rank_above_the_width_of_the_model_works_and_is_said(tmp_path):
    result = execute(make_run(tmp_path, make_backbone("llama"), "lora", options={"rank": 33, "max_steps": 1}))

    assert result.warnings == ["The rank 33 is larger than the model is wide (32): what is beyond that costs memory and adds little."]


@pytest.mark.parametrize("init", ["template", "label_words"])
def test_no_number_of_learned_tokens_takes_as_many_as_the_words_have(init):
    backbone = make_backbone()
    frame = make_frame(backbone)

    tuning = create_tuning(backbone, frame, Recipe("prompt_tuning", {"num_virtual_tokens": 0, "init": init}), 0)

    texts = {"template": frame.opening_ids, "label_words": [token for answer in trie_of(frame).answers for token in answer.ids[:-1]]}
    assert tuning.virtual().length == len(texts[init])
    assert tuning.warnings == []


@pytest.mark.parametrize(("method", "options"), [("prompt_tuning", {"init": "random"}), ("prefix_tuning", {"init": "zero"})])
def test_no_number_of_learned_tokens_is_refused_where_no_text_says_it(method, options):
    backbone = make_backbone()

    with pytest.raises(BadSpec, match=r"this start is no text\. Set num_virtual_tokens to 1 or more"):
        create_tuning(backbone, make_frame(backbone), Recipe(method, {"num_virtual_tokens": 0, **options}), 0)


def test_an_artifact_of_another_model_is_refused(tmp_path):
    execute(make_run(tmp_path, make_backbone("llama"), "prompt_tuning"))
    other = make_run(tmp_path / "other", make_backbone("gpt2"), "prompt_tuning", artifact=str(tmp_path / "out" / "artifact"))

    with pytest.raises(BadSpec, match="was made for tiny-llama"):
        execute(other)


def test_a_changed_artifact_is_refused(tmp_path):
    backbone = make_backbone()
    execute(make_run(tmp_path, backbone, "prompt_tuning"))
    weights = tmp_path / "out" / "artifact" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")

    with pytest.raises(MissingModel, match="has changed since"):
        execute(make_run(tmp_path / "again", backbone, "prompt_tuning", artifact=str(weights.parent)))


def test_virtual_tokens_beyond_the_window_are_refused(tmp_path):
    with pytest.raises(BadSpec, match="leave no room"):
        execute(make_run(tmp_path, make_backbone(), "prompt_tuning", options={"num_virtual_tokens": 255}))


def _predictions(folder):
    import json

    lines = (folder / "out" / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
