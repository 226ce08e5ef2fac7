import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from workers.engine.baselines import fit_baseline
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec

ROWS = [Item(str(n), {"text": text}, label) for n, (text, label) in enumerate([("my card", "card"), ("my cash", "cash")] * 4)]


@pytest.fixture
def fits(monkeypatch):
    """How often scikit-learn was asked to fit."""
    counted = []
    fit = Pipeline.fit
    monkeypatch.setattr(Pipeline, "fit", lambda self, *given: counted.append(1) or fit(self, *given))
    return counted


def believe(train_sha256):
    spec = RunSpec(
        id="run",
        backbone=BackboneRef("nowhere"),
        template=TemplateSpec(user="{{text}}"),
        evaluate=(EvaluateOn("test", FileRef("rows.jsonl")),),
        labels=("card", "cash"),
        recipe=Recipe("tfidf_logreg", {}),
        train=FileRef("train.jsonl", train_sha256),
    )
    return fit_baseline(spec, ROWS, None)(ROWS)


def test_a_baseline_is_fitted_once_for_the_same_train_rows(fits):
    first, second = believe("a" * 64), believe("a" * 64)

    assert len(fits) == 1
    assert np.array_equal(first, second)


def test_other_train_rows_are_fitted_anew(fits):
    believe("b" * 64)
    believe("c" * 64)

    assert len(fits) == 2


def test_rows_without_a_hash_are_never_taken_for_others(fits):
    believe(None)
    believe(None)

    assert len(fits) == 2
