import math

import pytest

from experiments.models import Preview
from experiments.reads import prompts as reads
from tests.factories import make_backbone, make_dataset_version, make_job

ROWS = [("train", f"train {number}", "abc"[number % 3]) for number in range(30)]
ROWS += [("validation", f"validation {number}", "abc"[number % 3]) for number in range(9)]


@pytest.fixture
def version(workspace):
    return make_dataset_version(workspace, ROWS)


def labels(version, ids):
    by_id = dict(version.examples.values_list("pk", "label"))
    return [by_id[pk] for pk in ids]


def test_drawn_examples_have_each_label_in_turn_and_only_train_rows(version):
    drawn = reads.demonstrations_draw(version, per_label=2, seed=3)

    assert sorted(labels(version, drawn)) == ["a", "a", "b", "b", "c", "c"]
    assert sorted(labels(version, drawn[:3])) == ["a", "b", "c"]
    assert version.examples.filter(pk__in=drawn, split="train").count() == 6


def test_a_seed_draws_the_same_examples_and_another_one_others(version):
    assert reads.demonstrations_draw(version, per_label=4, seed=1) == reads.demonstrations_draw(version, per_label=4, seed=1)
    assert reads.demonstrations_draw(version, per_label=4, seed=1) != reads.demonstrations_draw(version, per_label=4, seed=2)


def test_rows_to_try_are_five_validation_rows_with_every_label(version):
    tried = reads.rows_to_try(version, others=False)

    assert tried == reads.rows_to_try(version, others=False)
    assert version.examples.filter(pk__in=tried, split="validation").count() == 5
    assert set(labels(version, tried)) == {"a", "b", "c"}


def test_without_validation_rows_train_rows_are_tried(workspace):
    version = make_dataset_version(workspace, [("train", "one", "a"), ("test", "two", "b")])

    assert labels(version, reads.rows_to_try(version, others=True)) == ["a"]
    row, total = reads.row_to_show(version, 7)
    assert row is not None
    assert (row.fields, total) == ({"text": "one"}, 1)


def test_a_difference_names_added_and_removed_lines():
    diff = reads.lines_diff(["same", "old"], ["same", "new", "newer"])

    assert [(line.kind, line.text) for line in diff] == [("same", "same"), ("removed", "old"), ("added", "new"), ("added", "newer")]


def test_likelihoods_become_shares_that_make_one(version):
    example = version.examples.get(position=31)
    row = {
        "id": str(example.pk),
        "expected": "b",
        "predicted": "a",
        "loglikelihoods": {"a": math.log(0.6), "b": math.log(0.2), "c": None},
        "prompt_tokens": 12,
    }
    preview = Preview(dataset_version=version, backbone=make_backbone(), job=make_job(version.dataset.workspace), result={"rows": [row]})

    [tried] = reads.tried_rows(preview)

    assert [(answer.label, round(answer.share, 2), answer.is_expected) for answer in tried.answers] == [
        ("a", 0.75, False),
        ("b", 0.25, True),
    ]
    assert not tried.is_correct
    assert tried.text == "validation 0"
