"""Plain baselines that every classification is measured against. Knows scikit-learn; the linear probe also asks the backbone.

scikit-learn takes most of a second to import, so it is imported by what fits one: other runs start without it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.model.backbone import Backbone
from workers.engine.passes.abreast import run_abreast
from workers.engine.passes.batching import buckets

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# One row a label, C columns: how much a baseline believes in each label, as log-probabilities.
Beliefs = NDArray[np.float64]
Predict = Callable[[Sequence[Item]], Beliefs]
_SMOOTHING = 1e-9
_MAX_TOKENS = 4096
# A baseline is asked once on validation and once on test rows; fitting it takes longer than either.
_kept: dict[tuple[object, ...], "Pipeline"] = {}
_MOST_KEPT = 4


def fit_baseline(spec: RunSpec, train: Sequence[Item], backbone: Backbone | None) -> Predict:
    """A fitted baseline.

    Args:
        spec: method, labels, label words, the columns that the prompt reads, and the seed.
        train: rows to learn from; label overlap needs none.
        backbone: only for the linear probe.
    Returns:
        A function from N rows to [N, C] log-probabilities in the order of `spec.labels`.
    """
    method = spec.recipe.method
    if method == "majority":
        return _majority(spec, train)
    if method == "label_overlap":
        return _label_overlap(spec)
    if method == "tfidf_logreg":
        return _tfidf(spec, train)
    assert backbone is not None, "the linear probe reads the backbone's states"
    return _linear_probe(spec, train, backbone)


def row_text(spec: RunSpec, item: Item) -> str:
    """The columns that the prompt shows, joined: baselines read what the prompt reads."""
    return "\n".join(item.fields.get(slot, "") for slot in sorted(spec.template.columns()))


def _majority(spec: RunSpec, train: Sequence[Item]) -> Predict:
    counts = Counter(item.label for item in train)
    shares = np.array([counts[label] for label in spec.labels], dtype=np.float64) / len(train)
    return lambda items: np.tile(np.log(shares + _SMOOTHING), (len(items), 1))


def _label_overlap(spec: RunSpec) -> Predict:
    """Words that a row shares with a label's name and words; no training."""
    label_words = [_words(" ".join((label, *spec.words_of(label)))) for label in spec.labels]

    def predict(items: Sequence[Item]) -> Beliefs:
        shared = np.array([[len(_words(row_text(spec, item)) & words) for words in label_words] for item in items], dtype=np.float64)
        shares = (shared + _SMOOTHING) / (shared + _SMOOTHING).sum(axis=1, keepdims=True)
        beliefs: Beliefs = np.log(shares)
        return beliefs

    return predict


def _words(text: str) -> set[str]:
    """Lower-case words without a plural's s, so that "cards" meets "card"."""
    return {word.rstrip("s") or word for word in re.findall(r"\w+", text.casefold())}


def _tfidf(spec: RunSpec, train: Sequence[Item]) -> Predict:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = LogisticRegression(C=10.0, max_iter=1000, random_state=spec.seed)
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), classifier)
    return _fitted(spec, pipeline, train, lambda items: [row_text(spec, item) for item in items])


def _linear_probe(spec: RunSpec, train: Sequence[Item], backbone: Backbone) -> Predict:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, random_state=spec.seed))

    def states(items: Sequence[Item]) -> NDArray[np.float32]:
        return mean_states(backbone, [row_text(spec, item) for item in items])

    return _fitted(spec, pipeline, train, states, backbone.weights_hash)


def _fitted(
    spec: RunSpec, pipeline: "Pipeline", train: Sequence[Item], read: Callable[[Sequence[Item]], Any], weights: str = ""
) -> Predict:
    """A predictor from a pipeline fitted on the train rows, or from the one that was fitted on the same rows before."""
    seen = sorted({item.label for item in train})
    if len(seen) == 1:  # scikit-learn refuses to learn a single class; then that class is all there is to say
        only = np.where(np.array(spec.labels) == seen[0], 1.0, _SMOOTHING)
        return lambda items: np.tile(np.log(only), (len(items), 1))
    assert spec.train is not None, "a baseline that learns has train rows"
    key = (spec.recipe.method, spec.seed, spec.train.sha256, spec.max_rows, tuple(sorted(spec.template.columns())), weights)
    known = _kept.get(key) if spec.train.sha256 else None
    if known is None:
        rows = read(train)
        # Matrices this small are slower on several threads: 0.2 s on one and 1 s on two, and far worse beside other work.
        with threadpool_limits(1, user_api="blas"):
            known = pipeline.fit(rows, [item.label for item in train])
        if spec.train.sha256:
            _kept[key] = known
            if len(_kept) > _MOST_KEPT:
                del _kept[next(iter(_kept))]
    columns = [spec.labels.index(label) for label in known.classes_]

    def predict(items: Sequence[Item]) -> Beliefs:
        beliefs = np.full((len(items), len(spec.labels)), np.log(_SMOOTHING))
        beliefs[:, columns] = np.log(known.predict_proba(read(items)) + _SMOOTHING)
        return beliefs

    return predict


def mean_states(backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
    """[N, H] mean over tokens of the last hidden states: what a frozen model knows of a text without any prompt."""
    encoded = backbone.tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=backbone.window - 2)["input_ids"]
    rows = [[*backbone.start_ids, *ids] or [backbone.terminator_id] for ids in encoded]
    found: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(rows)

    def read(group: Sequence[int]) -> NDArray[np.float32]:
        width = max(len(rows[index]) for index in group)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        own = torch.zeros(len(group), width, dtype=torch.long)
        for place, index in enumerate(group):
            ids[place, : len(rows[index])] = torch.tensor(rows[index])
            own[place, : len(rows[index])] = 1
        ids, own = ids.to(backbone.device), own.to(backbone.device)
        reader = backbone.model.get_encoder() if backbone.is_encoder_decoder else backbone.model.base_model
        states = reader(input_ids=ids, attention_mask=own, use_cache=False).last_hidden_state.float()
        means: NDArray[np.float32] = ((states * own[:, :, None]).sum(1) / own.sum(1, keepdim=True)).cpu().numpy()
        return means

    def note(group: Sequence[int], means: NDArray[np.float32]) -> None:
        for index, mean in zip(group, means, strict=True):
            found[index] = mean

    run_abreast(read, list(buckets([len(row) for row in rows], 0, _MAX_TOKENS, 64)), backbone.device, note)
    return np.stack(found)
