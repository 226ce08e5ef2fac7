"""Rows of many prompts in one pass answer as they do when their prompt has the model for itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.engine.fakes import LABELS, QUICK, make_backbone, make_items, make_run, make_spec
from workers.engine.answering.generation import Generator
from workers.engine.approach import Prompted
from workers.engine.building import build_approach
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.requests import Request
from workers.engine.contract.spec import BackboneRef, FileRef, Item, Recipe
from workers.engine.contract.template_spec import Demonstration, TemplateSpec
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.methods.artifacts import save_artifact
from workers.engine.methods.tuning import create_tuning, frame_of, reserved_positions
from workers.engine.model.backbone import load_backbone
from workers.engine.serving.answerer import Answerer

TWO = ("cash", "transfer")
KINDS: dict[str, tuple[str, dict[str, Any], TemplateSpec]] = {
    "written": ("hard_prompt", {}, TemplateSpec(user="{{text}}\n", system="Which of these is it about, say a word?", answer_cue="It is")),
    "corrected": ("hard_prompt", {"score": "prior_corrected"}, TemplateSpec(user="Message: {{text}}", answer_cue=" belongs to")),
    "soft": ("prompt_tuning", {"num_virtual_tokens": 5, "template_text": "kept"}, TemplateSpec(user="Message: {{text}}\nQueue:")),
    "replacing": (
        "prompt_tuning",
        {"num_virtual_tokens": 3, "template_text": "replaced"},
        TemplateSpec(user="Sort this: {{text}}\nQueue:"),
    ),
    "p-tuned": ("p_tuning", {"num_virtual_tokens": 9}, TemplateSpec(user="Please sort: {{text}}", answer_cue=" Answer:")),
    "prefix": ("prefix_tuning", {"num_virtual_tokens": 7, "init": "vocabulary"}, TemplateSpec(user="{{text}}\nQueue:")),
    "lora": ("lora", {"rank": 4}, TemplateSpec(user="A message. {{text}}", answer_cue=" is about")),
    "wider lora": ("lora", {"rank": 8, "variant": "rslora"}, TemplateSpec(user="{{text}} =>")),
    "ia3": ("ia3", {}, TemplateSpec(user="What is it? {{text}}\nQueue:")),
    "context": ("cpt", {}, TemplateSpec(user="{{text}}\nQueue:", demonstrations=(Demonstration({"text": "it kept my notes"}, "cash"),))),
}


def spec_of(kind, **more):
    method, options, template = KINDS[kind]
    options = {**QUICK, **options} if METHODS[method].family == "tuned" else options
    values = {"id": kind, "recipe": Recipe(method, options), "template": template, "labels": TWO if kind == "lora" else LABELS}
    return make_spec(**({"train": FileRef("none.jsonl")} | values | more))


def write_artifact(folder: Path, spec, backbone, seed=1, noise=0.3) -> Path:
    """An artifact whose numbers are away from those of its start."""
    frame = frame_of(spec, backbone, reserved_positions(spec.recipe))
    tuning = create_tuning(backbone, frame, spec.recipe, seed=seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in tuning.trained():
            parameter.add_(torch.randn_like(parameter) * noise)
    save_artifact(folder, spec, frame, tuning)
    tuning.remove()
    return folder


def load_kinds(tmp_path, make, kinds=tuple(KINDS), noise=0.3):
    """An answerer with a prompt of each kind, and each kind as a run makes it, with a model to itself."""
    answerer, alone = Answerer(make()), {}
    for kind in kinds:
        source = spec_of(kind)
        if source.recipe.is_tuned:
            source = write_artifact(tmp_path / kind, source, make(), noise=noise)
        answerer.load(kind, source)
        spec = spec_of(kind, artifact=str(source), train=None) if isinstance(source, Path) else source
        approach = build_approach(replace(make_run(tmp_path / "alone" / kind, make()), spec=spec))
        assert isinstance(approach, Prompted)
        alone[kind] = approach
    return answerer, alone


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def loaded(request, tmp_path_factory):
    return load_kinds(tmp_path_factory.mktemp(request.param), lambda: make_backbone(request.param))


def requests_of(kinds, items):
    """Every row asks every kind, in an order that mixes them."""
    return [Request(f"{kind}/{item.id}", kind, item.fields) for item in items for kind in kinds]


def test_rows_of_every_kind_in_one_pass_score_as_they_do_alone(loaded, monkeypatch):
    monkeypatch.setattr("workers.engine.answering.scoring.MAX_TOKENS", 4096)  # room for all rows
    answerer, alone = loaded
    items, passes = make_items(2), []
    handle = answerer.backbone.model.register_forward_hook(lambda *args: passes.append(1))

    replies = {reply.id: reply for reply in answerer.score(requests_of(alone, items))}
    handle.remove()

    assert len(passes) == 1
    said = set()
    for kind, approach in alone.items():
        for item, expected in zip(items, approach.predict(items, lambda done: None), strict=True):
            reply = replies[f"{kind}/{item.id}"]
            assert reply.label == expected.predicted
            assert reply.loglikelihoods == pytest.approx(expected.loglikelihoods, abs=1e-4)
            said.add(round(reply.loglikelihoods["cash"], 2))
    assert len(said) > len(replies) / 2, "the kinds say the same, so the test shows nothing"


def test_free_answers_of_every_kind_in_one_batch_are_those_written_alone(loaded):
    answerer, alone = loaded
    items, rules = make_items(3), Generation(max_new_tokens=6, stop=())

    replies = {reply.id: reply.text for reply in answerer.generate(requests_of(alone, items), rules)}

    for kind, approach in alone.items():
        writer = Generator(approach.backbone, rules, approach.virtual())
        ids, _ = writer.write([row.ids for row in approach.frame.encode(items)])
        assert [replies[f"{kind}/{item.id}"] for item in items] == [writer.text_of(each) for each in ids]
    assert len(set(replies.values())) > len(KINDS), "the kinds write the same, so the test shows nothing"


@pytest.mark.slow
def test_in_bf16_the_starter_gives_at_least_99_of_100_rows_the_same_label_as_alone(tmp_path):
    texts = [line.rsplit(",", 1)[0] for line in Path("experiments/demo/banking77/test.csv").read_text(encoding="utf-8").splitlines()[1::75]]
    # With the options before it, as the starter was taught to read them, a row has one answer; without them many are ties.
    asked = f"Options: {', '.join(LABELS)}\nMessage: "
    items = [Item(str(number), {"text": asked + text}, "card") for number, text in enumerate(texts)]
    starter = BackboneRef("workers/starter/model", dtype="bf16", device="cpu")
    answerer, alone = load_kinds(tmp_path, lambda: load_backbone(starter), noise=0.02)

    replies = {reply.id: reply.label for reply in answerer.score(requests_of(alone, items))}

    expected = {f"{kind}/{row.id}": row.predicted for kind, each in alone.items() for row in each.predict(items, lambda done: None)}
    flips = {name: (label, replies[name]) for name, label in expected.items() if replies[name] != label}
    assert len(replies) == len(expected) > 300
    assert len(flips) <= 0.01 * len(expected), flips


def test_answering_leaves_the_model_as_it_was_loaded(loaded):
    answerer, _ = loaded

    assert answerer.backbone.fingerprint() == answerer.backbone.weights_hash


def test_what_cannot_be_answered_says_so_and_stops_no_other_row(loaded):
    answerer, _ = loaded
    asked = [
        Request("1", "nobody", {"text": "cash"}),
        Request("2", "soft", {"words": "cash"}),
        Request("3", "lora", {"text": "card " * 300}),
        Request("4", "lora", {"text": "cash"}),
    ]

    unknown, columns, long, fine = answerer.answer(asked)

    assert "No prompt is loaded as 'nobody'" in str(unknown.error)
    assert "The prompt asks for {{text}}" in str(columns.error)
    assert "the model reads at most" in str(long.error)
    assert fine.error is None
    assert fine.label in TWO


def test_a_row_that_does_not_begin_like_its_prompt_stands_behind_the_part_that_it_shares(tmp_path):
    answerer, alone = load_kinds(tmp_path, make_backbone, ("soft",))
    (item,) = make_items(1)
    expected = answerer.score(requests_of(alone, [item]))
    prompt = answerer.prompts["soft"]
    real = prompt.opening
    prompt.frame.opening_ids = (*real[:-1], real[-1] + 1)  # as if the row's text had merged with the template's

    found = answerer.score(requests_of(alone, [item]))

    assert found[0].loglikelihoods == pytest.approx(expected[0].loglikelihoods, abs=1e-4)


def test_prompts_beyond_the_byte_limit_leave_memory_and_come_back_when_asked(tmp_path):
    kinds, items = ("soft", "lora", "ia3"), make_items(2)
    answerer, _ = load_kinds(tmp_path, make_backbone, kinds)
    expected = answerer.score(requests_of(kinds, items))
    largest = max(answerer.shelf.get(kind).num_bytes for kind in kinds)
    small = Answerer(answerer.backbone, largest)
    for kind in kinds:
        small.load(kind, tmp_path / kind)
    assert len(small.shelf.names()) < len(kinds)

    found = small.score(requests_of(kinds, items))

    assert small.shelf.num_bytes <= largest
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loglikelihoods == pytest.approx(theirs.loglikelihoods, abs=1e-5)
    with pytest.raises(BadSpec, match=r"soft takes .* bytes, and 10 may be held"):
        Answerer(answerer.backbone, 10).load("soft", tmp_path / "soft")


def test_an_artifact_that_was_replaced_while_it_was_out_of_memory_is_not_taken_for_the_old_one(tmp_path):
    answerer, _ = load_kinds(tmp_path, make_backbone, ("soft", "ia3"))
    answerer.shelf.drop("soft")
    write_artifact(tmp_path / "soft", spec_of("soft"), make_backbone(), seed=2)

    replaced, kept = answerer.score(requests_of(("soft", "ia3"), make_items(1)))

    assert replaced.error == "The artifact of soft was replaced since it was loaded. Load it again."
    assert kept.label


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("bottleneck", {}, "adapters was made by “.*”, whose rows cannot share a pass"),
        ("lora", {"variant": "dora"}, "adapters is a variant of LoRA .*DoRA"),
    ],
)
def test_a_tuned_prompt_that_cannot_share_a_pass_is_refused_by_name(tmp_path, method, options, sentence):
    recipe = Recipe(method, {**QUICK, **options})
    folder = write_artifact(tmp_path / "made", make_spec(recipe=recipe, train=FileRef("none.jsonl")), make_backbone())
    backbone = make_backbone()

    with pytest.raises(Unsupported, match=sentence):
        Answerer(backbone).load("adapters", folder)

    assert backbone.fingerprint() == backbone.weights_hash


def test_a_recipe_that_is_not_made_yet_is_refused_by_name():
    spec = make_spec(recipe=Recipe("drawn_examples"), train=FileRef("none.jsonl"))

    with pytest.raises(Unsupported, match=r"drawn is a recipe of the kind “.*”, which has to be made first"):
        Answerer(make_backbone()).load("drawn", spec)


def test_a_model_that_runs_rows_whole_is_refused():
    with pytest.raises(Unsupported, match="cannot share a pass on this model: its encoder reads a row both ways"):
        Answerer(make_backbone("t5"))
