"""A row that is to be shown more often teaches as if it stood there as often; everything else counts it once."""

import json

import pytest

from tests.workers.engine.fakes import make_backbone, make_items, make_run
from workers.engine.contract.spec import FileRef
from workers.engine.errors import BadData
from workers.engine.execute import execute
from workers.engine.rows import read_rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileRef(str(path))


def row(item, **more):
    return {"id": item.id, "fields": dict(item.fields), "label": item.label, **more}


def losses(folder, train):
    record = execute(make_run(folder, make_backbone(), "prompt_tuning", train=train)).training
    assert record is not None
    return [point.train_loss for point in record.losses]


def test_row_shown_three_times_teaches_like_three_rows(tmp_path):
    first, *others = make_items(6)
    marked = write(tmp_path / "marked.jsonl", [row(first, times=3), *(row(item) for item in others)])
    repeated = write(tmp_path / "repeated.jsonl", [{**row(first), "id": f"copy-{at}"} for at in range(3)] + [row(item) for item in others])
    plain = write(tmp_path / "plain.jsonl", [row(item) for item in make_items(6)])

    assert losses(tmp_path / "a", marked) == losses(tmp_path / "b", repeated)
    assert losses(tmp_path / "a", marked) != losses(tmp_path / "c", plain)


def test_row_that_chooses_is_not_also_learned_from_when_it_is_shown_often(tmp_path):
    train = write(tmp_path / "train.jsonl", [row(item, times=5) for item in make_items(2)])

    record = execute(make_run(tmp_path, make_backbone(), "prompt_tuning", train=train, validation=None)).training

    assert record is not None
    assert record.validation_source == "1 rows of the inner split of train"


def test_train_rows_set_aside_choose_the_step_and_their_scores_have_names_of_their_own(tmp_path):
    options = {"chosen_on": "inner", "inner_share": 0.5, "max_steps": 2, "evaluate_every": 1}

    result = execute(make_run(tmp_path, make_backbone(), "prompt_tuning", rows=40, options=options))

    assert result.training is not None
    assert result.training.validation_source == "20 rows of the inner split of train"
    assert {(point.validation_accuracy, point.validation_loss) for point in result.training.curve} == {(None, None)}
    assert all(point.inner_accuracy is not None and point.inner_loss is not None for point in result.training.curve)


@pytest.mark.parametrize(
    ("rows", "more", "reason"),
    [(30, {}, "15 train rows set aside would be too few"), (40, {"configurations": 2}, "several configurations are compared by them")],
)
def test_validation_rows_choose_where_train_rows_cannot_and_the_run_says_so(tmp_path, rows, more, reason):
    options = {"chosen_on": "inner", "inner_share": 0.5, "max_steps": 2, "evaluate_every": 1, **more}

    result = execute(make_run(tmp_path, make_backbone(), "prompt_tuning", rows=rows, options=options))

    assert result.training is not None
    assert result.training.validation_source.endswith("rows of the validation file")
    assert any(warning.startswith(f"Validation rows choose the step: {reason}") for warning in result.warnings)


@pytest.mark.parametrize("times", [0, -1, 101, 1.5, "2", True, None])
def test_number_of_times_that_makes_no_sense_is_refused(tmp_path, times):
    with pytest.raises(BadData, match=r'Row 1 of rows\.jsonl: "times"'):
        read_rows(write(tmp_path / "rows.jsonl", [row(make_items(1)[0], times=times)]))
