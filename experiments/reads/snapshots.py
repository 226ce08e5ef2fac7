"""What a report holds: a copy of the comparison made at one moment, field by field from an explicit list.

Nothing is copied that does not stand in ALLOWED, so that a new field of the comparison never reaches a shared link by itself.
Approaches are numbered (a1, a2, …): no id of the database leaves in a snapshot.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import F

from experiments.models import Example, Experiment, Prediction, TestOpening
from experiments.reads.confusions import MIX_UPS, NO_ANSWER
from experiments.reads.datasets import findings_line
from experiments.reads.headlines import LEARNED, headline
from experiments.reads.second_rounds import focus_sentences

SCHEMA = 1
NUM_EXAMPLES = 20
EXAMPLE_CHARACTERS = 400
MIN_SEEDS = 5  # below this, seeds show a spread and allow no verdict on the method

Allowed = dict[str, "Allowed | None"]


def _fields(names: str, **nested: Allowed) -> Allowed:
    return {**dict.fromkeys(names.split()), **nested}


ALLOWED: Allowed = _fields(
    "schema title question made_at headline split task n num_labels level margin signature baseline baseline_chosen best equals seeds "
    "caveats",
    data=_fields("name number content_sha256 attribution findings", counts=_fields("train validation test unlabelled")),
    model=_fields("name revision"),
    test_openings=_fields("count opened_at"),
    rows=_fields(
        "approach name family method position written_after_test seed chosen_because accuracy low high correct n errors skipped "
        "coverage macro_f1 macro_f1_low macro_f1_high rows_per_second train_seconds trainable total_parameters artifact_bytes "
        "configurations one_configuration_because",
        spread=_fields("num_seeds mean lowest highest deviation"),
        closeness=_fields("", **{name: _fields("value low high") for name in ("token_f1", "rouge_l", "chrf", "format")}),
        forgetting=_fields("before after"),
        agreement=_fields("agreed rows"),
        delta=_fields("value low high p_adjusted num_compared verdict not_worse sentence"),
        tokens=_fields("fixed row virtual completion context computed billed billed_input billed_output"),
        latency=_fields("rows p50_ms p95_ms cpu_p50_ms withheld"),
        cost=_fields("per_thousand low high passes currency reason"),
    ),
    spending=_fields("name family method position seed points"),
    generation=_fields("written form"),
    methods=_fields("approach num_seeds sentence"),
    missing=_fields("name family state reason"),
    mix_ups=_fields("right answer rows"),
    money=_fields(
        "volumes",
        book=_fields(
            "name currency effective_on",
            prices=_fields("device_hour input_million_tokens output_million_tokens wrong_answer labelled_row person_hour"),
        ),
        prices=_fields("currency"),
        demand=_fields("requests months peak_factor reserved"),
        rows=_fields(
            "approach replicas passes",
            per_thousand=_fields("value"),
            per_thousand_low=_fields("value"),
            per_thousand_high=_fields("value"),
            mistakes_per_thousand=_fields("value"),
            monthly=_fields("value"),
            one_off=_fields("value"),
            amortised_per_thousand=_fields("value"),
            totals=_fields("value"),
            break_even=_fields("pays requests low high sentence"),
            break_even_with_mistakes=_fields("pays requests low high sentence"),
        ),
    ),
    learning=_fields(
        "n num_train seeds currency seconds sentences",
        written=_fields("name family method position accuracy low high"),
        lines=_fields(
            "name family method position",
            points=_fields(
                "rows accuracy low high n num_seeds lowest highest seconds cost", delta=_fields("value low high p_adjusted verdict")
            ),
        ),
        missing=_fields("name state reason"),
    ),
    latency=_fields("requests load cores withheld measured_at", machine=_fields("device device_name threads")),
    circumstances=_fields("device device_name dtype", versions=_fields("torch transformers peft python scikit-learn numpy")),
    prompts=_fields("approach first_step system user answer_cue num_examples"),
    examples=_fields("text right", answers=_fields("approach answer correct")),
)


def snapshot_build(
    experiment: Experiment, payload: Mapping[str, Any], *, title: str, now: datetime, includes_prompts: bool, includes_examples: bool
) -> dict[str, Any]:
    """The snapshot of one split's table as plain JSON values.

    Args:
        payload: the stored table of the split.
        includes_prompts, includes_examples: whether the wordings, and some rows with their answers, are copied too.
    """
    version, opening = experiment.dataset_version, TestOpening.objects.filter(experiment=experiment).first()
    names = {row["approach"]: f"a{number}" for number, row in enumerate(payload["rows"], start=1)}
    openings = TestOpening.objects.filter(version__dataset=version.dataset_id).count()
    whole = {
        **payload,
        "schema": SCHEMA,
        "title": title,
        "question": experiment.description or experiment.name,
        "made_at": now.isoformat(timespec="seconds"),
        "headline": headline(payload),
        "methods": [claim for claim in payload["methods"] if claim["difference"]["value"] is not None],
        "num_labels": len(payload["labels"]),
        "seeds": experiment.seeds,
        "data": _data(experiment),
        "model": _model(experiment),
        "test_openings": {"count": openings, "opened_at": opening.opened_at.isoformat(timespec="seconds") if opening else None},
        "mix_ups": _mix_ups(payload),
        "prompts": _prompts(experiment) if includes_prompts else [],
        "examples": _examples(experiment, payload) if includes_examples else [],
        "learning": _learning(experiment),
        "caveats": [*caveats(payload, openings), *focus_sentences(experiment)],
    }
    return dict(_numbered(_picked(whole, ALLOWED), names))


def snapshot_digest(payload: Mapping[str, Any]) -> str:
    """SHA-256 of the snapshot in one fixed spelling."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def caveats(payload: Mapping[str, Any], num_openings: int) -> list[str]:
    """What a reader must know before believing the figures, a sentence each."""
    sentences = []
    if payload["split"] != "test":
        sentences.append("These are validation rows, by which choices were made; figures on untouched rows are usually lower.")
    elif num_openings > 1:
        sentences.append(f"The test rows of this data have been opened {num_openings} times; each look makes the figure less honest.")
    late = [row["name"] for row in payload["rows"] if row["written_after_test"]]
    if late:
        sentences.append(f"Written after the test was seen: {', '.join(late)}. Their figures may be too good.")
    sentences += _seed_caveat(payload)
    if payload["n"] < 300:
        sentences.append(f"{payload['n']} rows are few: differences below about {round(196 / payload['n'] ** 0.5)} points may go unseen.")
    if payload["missing"]:
        sentences.append(f"Not compared, because they did not end well: {', '.join(line['name'] for line in payload['missing'])}.")
    return sentences


def _seed_caveat(payload: Mapping[str, Any]) -> list[str]:
    """What the seeds of the tuned approaches leave open; nothing where nothing was tuned, or five seeds tell."""
    seeds = [row["spread"]["num_seeds"] for row in payload["rows"] if row["family"] in LEARNED]
    if not seeds or min(seeds) >= MIN_SEEDS:
        return []
    if min(seeds) == 1:
        return ["Tuned approaches ran with one seed: another seed may give other figures, and nothing here tells how different."]
    return [f"Tuned approaches ran with {min(seeds)} seeds: a spread, but no verdict on the method."]


def _data(experiment: Experiment) -> dict[str, Any]:
    version = experiment.dataset_version
    return {
        "name": version.dataset.name,
        "number": version.number,
        "content_sha256": version.content_sha256,
        "attribution": version.dataset.attribution,
        "counts": version.split_counts,
        "findings": findings_line(version.gate_report),
    }


def _model(experiment: Experiment) -> dict[str, str] | None:
    approach = experiment.approaches.filter(backbone__isnull=False).select_related("backbone").first()
    return {"name": approach.backbone.name, "revision": approach.backbone.revision} if approach and approach.backbone else None


def _learning(experiment: Experiment) -> dict[str, Any] | None:
    """The learning curve, where one was drawn and has ended."""
    curve = Experiment.objects.filter(curve_of=experiment).first()
    return curve.learning_curve or None if curve else None


def _mix_ups(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The most frequent mix-ups of the best approach."""
    labels = payload["labels"]
    best = next((row for row in payload["rows"] if row["approach"] == payload["best"]), None)
    if not labels or best is None:
        return []
    wrong = sorted((cell for cell in best["confusion"] if cell[0] != cell[1]), key=lambda cell: -cell[2])
    named = ((labels[truth], labels[answer] if answer >= 0 else NO_ANSWER, count) for truth, answer, count in wrong[:MIX_UPS])
    return [{"right": right, "answer": answer, "rows": count} for right, answer, count in named]


def _prompts(experiment: Experiment) -> list[dict[str, Any]]:
    """The wordings, once a prompt, without the rows that they show."""
    wordings: dict[Any, dict[str, Any]] = {}
    for approach in experiment.approaches.exclude(family="baseline").select_related("template_version"):
        written = approach.template_version
        if written is None:
            continue
        wordings.setdefault(
            written.pk,
            {
                "approach": approach.name,
                "first_step": written.first_step.get("text", ""),
                "system": written.system,
                "user": written.user,
                "answer_cue": written.answer_cue,
                "num_examples": len(written.demonstrations),
            },
        )
    return list(wordings.values())


def _examples(experiment: Experiment, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first rows of the split with every approach's answer."""
    rows = Example.objects.filter(version=experiment.dataset_version, split=payload["split"]).order_by("position")[:NUM_EXAMPLES]
    columns = {row["evaluation"]: row["name"] for row in payload["rows"]}
    answers = Prediction.objects.filter(example__in=list(rows), evaluation__in=list(columns), attempt=F("evaluation__attempt"))
    given: dict[int, list[dict[str, Any]]] = {}
    for each in answers.order_by("evaluation__run__approach__position"):
        answer = {"approach": columns[str(each.evaluation_id)], "answer": _cut(each.predicted), "correct": each.correct}
        given.setdefault(each.example_id, []).append(answer)
    return [{"text": _cut(" · ".join(row.fields.values())), "right": _cut(row.label), "answers": given.get(row.pk, [])} for row in rows]


def _cut(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS] + "…"


def _picked(value: Any, allowed: Allowed | None) -> Any:
    """The allowed part of a JSON value; lists are picked item by item. An object where the list knows only a value is left out."""
    if isinstance(value, list | tuple):
        return [_picked(item, allowed) for item in value]
    if not isinstance(value, Mapping):
        return value
    if allowed is None:
        return None
    return {name: _picked(value[name], nested) for name, nested in allowed.items() if name in value}


def _numbered(value: Any, names: Mapping[str, str]) -> Any:
    """The value with each approach's id replaced by its number in the report."""
    if isinstance(value, Mapping):
        return {name: _numbered(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbered(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
