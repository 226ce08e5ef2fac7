import json
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_items, make_run, write_rows
from workers.engine.contract.spec import EvaluateOn, Item
from workers.engine.contract.template_spec import Demonstration, TemplateSpec
from workers.engine.errors import BadData
from workers.engine.execute import execute
from workers.engine.figures.calibration import fit_label_bias
from workers.engine.prompts.demonstrations import Neighbours
from workers.engine.prompts.draws import draw_examples


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "predictions-test.jsonl").read_text().splitlines()]


def skewed(n=40):
    """Three rows in four have the first label."""
    items = make_items(n)
    return [Item(item.id, item.fields, LABELS[0]) if place % 4 != 3 else item for place, item in enumerate(items)]


def test_a_draw_is_the_same_for_the_same_seed_and_another_for_another():
    train = make_items(40)

    first, again, other = (draw_examples(train, "random", 6, seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert len({item.id for item in first}) == 6


def test_balanced_examples_show_each_label_equally_often():
    counts = Counter(item.label for item in draw_examples(skewed(), "balanced", 7, seed=0))

    # Only two labels occur; one of them gets the odd row.
    assert sorted(counts.values()) == [3, 4]


def test_a_label_with_too_few_rows_is_made_up_for_by_the_others():
    train = [item for item in make_items(20) if item.label == "cash"] + make_items(1)

    assert Counter(item.label for item in draw_examples(train, "balanced", 5, seed=0)) == {"cash": 4, "card": 1}


def test_more_examples_than_train_rows_are_refused():
    with pytest.raises(BadData, match="there are 3 train rows"):
        draw_examples(make_items(3), "random", 4, seed=0)


def test_nearest_rows_are_those_of_the_same_words_and_never_the_row_itself(tmp_path):
    train = make_items(24)
    run = make_run(tmp_path, make_backbone())
    neighbours = Neighbours.of(run.spec, make_backbone(), train, 3)

    found = neighbours.find([train[0], Item("new", {"text": "the machine kept my cash please 77"}, "cash")])

    assert train[0].id not in {item.id for item in found[0]}
    assert {item.label for item in found[1]} == {"cash"}
    assert [item.id for item in found[1]] == [
        item.id for item in neighbours.find([Item("x", {"text": "the machine kept my cash please 77"}, "cash")])[0]
    ]


@pytest.mark.parametrize("policy", ["random", "balanced"])
def test_drawn_examples_stand_in_every_prompt_and_in_the_result(tmp_path, policy):
    run = make_run(tmp_path, make_backbone(), "drawn_examples", options={"policy": policy, "num_examples": 4}, keep_prompts=True)

    result = execute(run)

    examples = result.written["examples"]
    shown = {item.id: item.fields["text"] for item in make_items(12)}
    assert (examples["policy"], examples["draw_seed"], len(examples["rows"])) == (policy, 0, 4)
    assert all(shown[row["id"]] in line["prompt"] for row in examples["rows"] for line in lines(tmp_path))


def test_drawn_examples_come_from_train_alone(tmp_path):
    train = write_rows(tmp_path / "train.jsonl", [Item(f"t{i}", {"text": f"train {i}"}, LABELS[i % 4]) for i in range(8)])
    run = make_run(
        tmp_path, make_backbone(), "drawn_examples", train=train, options={"policy": "nearest", "num_examples": 8}, keep_prompts=True
    )

    execute(run)

    for line in lines(tmp_path):
        assert all(f"train {i}" in line["prompt"] for i in range(8))
        assert line["prompt"].count("Message:") == 9


def test_written_examples_give_way_to_drawn_ones(tmp_path):
    template = TemplateSpec(TEMPLATE.user, TEMPLATE.system, TEMPLATE.answer_cue, (Demonstration({"text": "written by hand"}, "cash"),))
    run = make_run(tmp_path, make_backbone(), "drawn_examples", options={"num_examples": 2}, template=template, keep_prompts=True)

    execute(run)

    assert not any("written by hand" in line["prompt"] for line in lines(tmp_path))


def test_a_row_that_is_too_long_with_all_its_examples_shows_the_nearest_that_fit(tmp_path):
    long = [Item(f"t{i}", {"text": f"number {i} " + "card " * 80}, LABELS[i % 4]) for i in range(12)]
    options = {"policy": "nearest", "num_examples": 8}
    train = write_rows(tmp_path / "train.jsonl", long)
    run = make_run(tmp_path, make_backbone(), "drawn_examples", train=train, options=options, keep_prompts=True)

    result = execute(run)

    neighbours = Neighbours.of(run.spec, make_backbone(), long, 8)
    for item, line in zip(make_items(12), lines(tmp_path), strict=True):
        nearest = [found.fields["text"].partition(" card")[0] + " " for found in neighbours.find([item])[0]]
        shown = [text for text in nearest if text in line["prompt"]]
        assert 0 < len(shown) < 8
        assert shown == nearest[-len(shown) :]
    assert any("too long with all their examples" in warning for warning in result.warnings)


def test_nearest_examples_cost_more_computed_tokens_than_shared_ones(tmp_path):
    costs = {}
    for policy in ("balanced", "nearest"):
        run = make_run(tmp_path / policy, make_backbone(), "drawn_examples", options={"policy": policy, "num_examples": 4})
        means = execute(run).metrics["test"].mean_tokens
        costs[policy] = means["computed_tokens"] / means["prompt_tokens"]

    assert costs["nearest"] > 1 > costs["balanced"]


def test_scores_behind_own_examples_equal_the_plain_computation(tmp_path):
    found = {}
    for plain in (None, "asked"):
        run = make_run(tmp_path / str(plain), make_backbone(), "drawn_examples", options={"policy": "nearest", "num_examples": 3})
        from workers.engine.approach import Prompted
        from workers.engine.building import build_approach

        approach = build_approach(run)
        assert isinstance(approach, Prompted)
        approach.plain_reason, approach.probed = plain, True
        found[plain] = approach.predict(make_items(6), lambda done: None)

    for shared, whole in zip(found[None], found["asked"], strict=True):
        assert torch.allclose(
            torch.tensor(list(shared.loglikelihoods.values())), torch.tensor(list(whole.loglikelihoods.values())), atol=1e-3
        )


def test_the_bias_is_the_intercept_of_a_logistic_regression():
    chance = np.random.default_rng(0)
    expected = chance.integers(0, 3, 400)
    # With equal scores only the frequencies of the labels are left to learn.
    bias = fit_label_bias(np.zeros((400, 3)), expected, penalty=1e-4)
    theirs = LogisticRegression(C=1e6).fit(np.zeros((400, 1)), expected).intercept_

    assert np.allclose(bias, theirs - theirs.mean(), atol=1e-2)


def test_the_bias_undoes_a_tilt_of_the_scores():
    chance = np.random.default_rng(0)
    expected = chance.integers(0, 4, 300)
    scores = chance.normal(size=(300, 4)) + 2 * np.eye(4)[expected]
    tilt = np.array([3.0, -1.0, 0.0, -2.0])

    bias = fit_label_bias(scores + tilt, expected, penalty=1e-3)

    assert np.allclose(bias - bias.mean(), fit_label_bias(scores, expected, 1e-3) - (tilt - tilt.mean()), atol=0.15)


def test_a_label_bias_is_fitted_recorded_and_used(tmp_path):
    data = write_rows(tmp_path / "skewed.jsonl", skewed())
    plain = execute(make_run(tmp_path / "plain", make_backbone(), train=data, evaluate=(EvaluateOn("test", data),)))
    run = make_run(tmp_path, make_backbone(), "label_bias", train=data, evaluate=(EvaluateOn("test", data),))

    result = execute(run)

    bias = result.written["label_bias"]
    assert set(bias) == set(LABELS)
    assert result.parameters["trainable"] == len(LABELS)
    assert result.metrics["test"].accuracy > plain.metrics["test"].accuracy
    for line in lines(tmp_path):
        biased = {label: line["loglikelihoods"][label] + bias[label] for label in LABELS}
        assert line["predicted"] == max(biased, key=lambda label: biased[label])


def test_a_bias_that_was_fitted_before_is_used_without_train_rows(tmp_path):
    first = make_run(tmp_path / "first", make_backbone(), "label_bias")
    bias = execute(first).written["label_bias"]
    again = make_run(tmp_path / "again", make_backbone(), "label_bias", train=None, label_bias=bias)

    execute(again)

    assert [line["predicted"] for line in lines(tmp_path / "first")] == [line["predicted"] for line in lines(tmp_path / "again")]


def test_rows_that_the_prompt_shows_do_not_fit_the_bias(tmp_path):
    shown = make_items(1)[0]
    template = TemplateSpec(TEMPLATE.user, TEMPLATE.system, TEMPLATE.answer_cue, (Demonstration(shown.fields, shown.label),))

    result = execute(make_run(tmp_path, make_backbone(), "label_bias", template=template))

    assert result.written["label_bias_rows"] == 11


def test_a_bias_without_rows_to_fit_it_on_says_why(tmp_path):
    """Both train rows stand in the prompt, which has read their answers."""
    items = make_items(2)
    shown = tuple(Demonstration(item.fields, item.label) for item in items)
    template = TemplateSpec(**{**vars(TEMPLATE), "demonstrations": shown})

    with pytest.raises(BadData, match="that the prompt does not show and that fit into the model; there are 0"):
        execute(make_run(tmp_path, make_backbone(), "label_bias", template=template, train=write_rows(tmp_path / "two.jsonl", items)))


def test_the_other_scoring_rules_are_recorded_beside_the_one_chosen_by(tmp_path):
    alone = {}
    for rule in ("mean", "prior_corrected"):
        alone[rule] = execute(make_run(tmp_path / rule, make_backbone(), options={"score": rule})).metrics["test"].accuracy

    assert execute(make_run(tmp_path, make_backbone())).metrics["test"].accuracy_by_rule == alone


def test_several_words_of_a_label_add_up_as_probabilities(tmp_path):
    words = {"cash": ("cash", "money", "machine")}
    execute(make_run(tmp_path / "all", make_backbone(), answer_words=words))
    for place, word in enumerate(words["cash"]):
        execute(make_run(tmp_path / str(place), make_backbone(), answer_words={"cash": (word,)}))

    together = [line["loglikelihoods"]["cash"] for line in lines(tmp_path / "all")]
    apart = torch.tensor([[line["loglikelihoods"]["cash"] for line in lines(tmp_path / str(place))] for place in range(3)])

    assert torch.allclose(torch.tensor(together), apart.logsumexp(0), atol=1e-4)
