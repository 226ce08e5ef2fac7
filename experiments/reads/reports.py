"""Turns stored predictions into the table of one split: what pages, reports and exports read. Runs in a worker; writes nothing.

Statistics are `comparison`'s, money is `economics`'; this file only gathers rows for them and lays their answers out as JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from experiments.catalogue.configurations import reason_for_one
from experiments.catalogue.generation import GenerationPlan
from experiments.comparison import ApproachResult, Comparison, Contender, Difference, Settings, choose_seed, comparison_build
from experiments.economics import Effort, TokenUse
from experiments.errors import UserError
from experiments.models import Approach, Evaluation, Example, Experiment, Prediction, Run, Split, TestOpening
from experiments.models.comparisons import Family
from experiments.models.datasets import Task
from experiments.reads.costs import cost_of_request, costs_table
from experiments.reads.passes import measured_passes
from experiments.reads.spending import spending_lines
from experiments.reads.teaching import agreement_of, teaching_cost
from experiments.reads.trials import version_answering
from experiments.services.scores import CLOSENESS

SCHEMA = 1
TEXT_SIGNATURE = "exact match / all rows, Wilson; pairs: McNemar mid-p, Holm, Bonett-Price; means over all rows: bootstrap"
TOKENS = {"fixed": "fixed_tokens", "row": "row_tokens", "virtual": "virtual_tokens", "completion": "completion_tokens"}


@dataclass(frozen=True)
class Answered:
    """One complete evaluation: the run, its approach, and the answers in the order of the rows."""

    evaluation: Evaluation
    contender: Contender

    @property
    def run(self) -> Run:
        return self.evaluation.run

    @property
    def approach(self) -> Approach:
        return self.evaluation.run.approach


def build_table(experiment: Experiment, split: str) -> dict[str, Any]:
    """The comparison of one split as plain JSON values.

    Raises:
        UserError: no run has answered the rows of this split yet.
    """
    version = experiment.dataset_version
    examples = list(Example.objects.filter(version=version, split=split).order_by("position").values_list("pk", "label"))
    answered = _answered(experiment, split, [pk for pk, _ in examples])
    if not answered:
        raise UserError(f"No run has answered the {split} rows, so there is nothing to compare.")
    baseline, chosen = _baseline(experiment, answered)
    speeds = measured_passes(experiment)
    comparison = comparison_build(
        expected=[label for _, label in examples],
        labels=version.labels if version.task == Task.CLASSIFICATION else [],
        contenders=[each.contender for each in answered],
        baseline=baseline,
        settings=Settings(margin=experiment.margin),
        costs=_request_costs(experiment, answered),
    )
    rows = [{**row, "speeds": speeds.get(row["evaluation"], [])} for row in _rows(experiment, comparison, answered)]
    money = costs_table(experiment, rows, _efforts(answered), comparison.baseline)
    costs = money.pop("costs")
    return {
        "schema": SCHEMA,
        "split": split,
        "task": version.task,
        "n": comparison.n,
        "labels": list(comparison.labels),
        "baseline": comparison.baseline,
        "baseline_chosen": chosen,
        "best": comparison.best,
        "equals": list(comparison.equals),
        "headline": comparison.headline,
        "signature": comparison.signature if version.task == Task.CLASSIFICATION else TEXT_SIGNATURE,
        "generation": _generation(experiment) if version.task == Task.EXTRACTION else None,
        "level": comparison.settings.level,
        "margin": comparison.settings.margin,
        "rows": [{**row, "cost": costs[row["approach"]]} for row in rows],
        "money": money,
        "spending": spending_lines(experiment),
        "missing": _missing(experiment, {each.approach.pk for each in answered}),
        "methods": [asdict(claim) for claim in comparison.methods],
        "circumstances": _circumstances(answered),
    }


def _answered(experiment: Experiment, split: str, example_ids: Sequence[int]) -> list[Answered]:
    """Complete evaluations of the split, in the order of the plan, with their winning attempt's answers."""
    evaluations = Evaluation.objects.filter(
        run__approach__experiment=experiment, dataset_version=experiment.dataset_version_id, split=split, attempt__isnull=False
    ).select_related(
        "run__approach__template_version__template",
        "run__approach__teacher_evaluation__run__approach",
        "run__approach__experiment",
        "run__artifact",
    )
    evaluations = evaluations.prefetch_related("scores", "run__optimised_versions__template")
    chosen_by = _validation_accuracies(experiment)
    ordered = sorted(evaluations, key=lambda each: (each.run.approach.position, each.run.seed))
    return [Answered(each, _contender(each, example_ids, chosen_by.get(each.run_id))) for each in ordered]


def _validation_accuracies(experiment: Experiment) -> dict[Any, float]:
    """{run: accuracy on validation}: what chooses among the seeds of an approach, whatever the split shown."""
    validation = Evaluation.objects.filter(run__approach__experiment=experiment, split=Split.VALIDATION, attempt__isnull=False)
    return {run: summary["accuracy"] for run, summary in validation.values_list("run", "summary") if "accuracy" in summary}


def _contender(evaluation: Evaluation, example_ids: Sequence[int], validation_accuracy: float | None) -> Contender:
    column = "text" if evaluation.dataset_version.task == Task.EXTRACTION else "predicted"
    answers = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id)
    found = {pk: (answer, correct, error) for pk, answer, correct, error in answers.values_list("example", column, "correct", "error")}
    given = [found.get(pk, ("", False, "missing")) for pk in example_ids]
    skipped = int(evaluation.summary.get("skipped") or 0)
    unanswered = sum(1 for _, _, error in given if error)
    return Contender(
        approach=str(evaluation.run.approach_id),
        name=evaluation.run.approach.name,
        seed=evaluation.run.seed,
        predicted=tuple(None if error else answer for answer, _, error in given),
        correct=tuple(correct and not error for _, correct, error in given),
        num_errors=max(0, unanswered - skipped),
        num_skipped=skipped,
        validation_accuracy=validation_accuracy,
    )


def _baseline(experiment: Experiment, answered: Sequence[Answered]) -> tuple[str, bool]:
    """The approach the others are measured against, and whether a person chose it; else the written prompt that is best on validation."""
    present = {str(each.approach.pk) for each in answered}
    if experiment.baseline_id and str(experiment.baseline_id) in present:
        return str(experiment.baseline_id), True
    own = [each for each in answered if each.approach.family == Family.ENGINEERED]
    written = own or [each for each in answered if each.approach.family == Family.HOSTED] or answered
    best = max(written, key=lambda each: (each.contender.validation_accuracy or 0.0, -each.approach.position))
    return str(best.approach.pk), False


def _request_costs(experiment: Experiment, answered: Sequence[Answered]) -> dict[str, float]:
    """{approach: what a request costs of the seed that stands for it}, without those whose cost nobody knows."""
    groups: dict[str, list[Answered]] = {}
    for each in answered:
        groups.setdefault(each.contender.approach, []).append(each)
    costs = {approach: _request_cost(experiment, group) for approach, group in groups.items()}
    return {approach: cost for approach, cost in costs.items() if cost is not None}


def _request_cost(experiment: Experiment, group: Sequence[Answered]) -> float | None:
    contender = choose_seed([each.contender for each in group])
    chosen = next(each for each in group if each.contender is contender)
    return cost_of_request(experiment.price_book, {"family": chosen.approach.family, **_effort(chosen)})


def _rows(experiment: Experiment, comparison: Comparison, answered: Sequence[Answered]) -> list[dict[str, Any]]:
    chosen = {(each.contender.approach, each.contender.seed): each for each in answered}
    against = {pair.approach: pair for pair in comparison.against_baseline}
    opened = TestOpening.objects.filter(version__dataset=experiment.dataset_version.dataset_id).order_by("opened_at").first()
    rows = []
    for result in comparison.approaches:
        each = chosen[result.approach, result.chosen_seed]
        rows.append(
            {
                **_identity(each, opened),
                **_quality(result, against.get(result.approach)),
                "closeness": _closeness(each.evaluation),
                **_effort(each),
            }
        )
    return rows


def _identity(each: Answered, opened: TestOpening | None) -> dict[str, Any]:
    approach, template = each.approach, version_answering(each.approach, each.run)
    is_baseline = approach.family == Family.BASELINE
    return {
        "approach": str(approach.pk),
        "run": str(each.run.pk),
        "evaluation": str(each.evaluation.pk),
        "name": approach.name,
        "family": approach.family,
        "method": approach.method,
        "position": approach.position,
        "prompt": str(template) if template and not is_baseline else "",
        "written_after_test": bool(opened and template and not is_baseline and template.created_at > opened.opened_at),
    }


def _quality(result: ApproachResult, against: Difference | None) -> dict[str, Any]:
    rate, macro = result.chosen.accuracy, result.macro_f1
    return {
        "seed": result.chosen_seed,
        "chosen_because": result.chosen_because,
        "accuracy": rate.value,
        "low": rate.low,
        "high": rate.high,
        "correct": rate.correct,
        "n": rate.n,
        "errors": result.chosen.num_errors,
        "skipped": result.chosen.num_skipped,
        "coverage": result.chosen.coverage,
        "macro_f1": macro.value if macro else None,
        "macro_f1_low": macro.low if macro else None,
        "macro_f1_high": macro.high if macro else None,
        "spread": asdict(result.spread),
        "seeds": [
            {"seed": one.seed, "accuracy": one.accuracy.value, "low": one.accuracy.low, "high": one.accuracy.high}
            for one in result.artifacts
        ],
        "delta": _delta(against) if against else None,
        "confusion": [list(cell) for cell in result.confusion.cells] if result.confusion else [],
    }


def _closeness(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Of free answers, each mean over rows with its interval, as scored when the run ended; empty for a classification."""
    found = [score for score in evaluation.scores.all() if score.metric in CLOSENESS]
    return {score.metric: {"value": score.value, "low": score.low, "high": score.high} for score in found}


def _delta(pair: Difference) -> dict[str, Any]:
    return {
        "value": pair.difference.value,
        "low": pair.difference.low,
        "high": pair.difference.high,
        "p": pair.p,
        "p_adjusted": pair.p_adjusted,
        "num_compared": pair.num_compared,
        "verdict": pair.verdict,
        "not_worse": pair.not_worse,
        "sentence": pair.sentence,
        "only_this": pair.only_this,
        "only_other": pair.only_other,
    }


def _effort(each: Answered) -> dict[str, Any]:
    """Tokens, time and size of the chosen artifact, as its worker measured them."""
    summary, result = each.evaluation.summary, each.run.result
    training, parameters = result.get("training") or {}, result.get("parameters") or {}
    artifact = getattr(each.run, "artifact", None)
    return {
        "tokens": _billed_tokens(summary["endpoint"]) if summary.get("endpoint") else _tokens(summary.get("mean_tokens") or {}),
        "rows_per_second": summary.get("rows_per_second"),
        "calls_latency": (summary.get("endpoint") or {}).get("latency"),
        **_tried(each),
        "train_seconds": training.get("train_seconds"),
        "evaluation_seconds": training.get("evaluation_seconds"),
        "train_steps": training.get("steps"),
        "best_step": training.get("best_step"),
        "trainable": parameters.get("trainable"),
        "total_parameters": parameters.get("total"),
        "artifact_bytes": artifact.num_bytes if artifact else None,
        "forgetting": _forgetting(result.get("forgetting")),
        "agreement": agreement_of(result),
        "warnings": list(result.get("warnings") or summary.get("warnings") or []),
    }


def _tried(each: Answered) -> dict[str, Any]:
    """How many configurations the approach was chosen among, and why only one where the comparison asked for more."""
    written = (each.run.result.get("written") or {}).get("search") or {}
    tried = (each.run.result.get("sweep") or {}).get("configurations") or written.get("num_candidates") or 1
    approach = each.approach
    if tried > 1 or approach.experiment.configurations == 1:
        return {"configurations": tried, "one_configuration_because": ""}
    two_steps = bool(approach.template_version and approach.template_version.first_step)
    reason = reason_for_one(approach.family, approach.method, approach.recipe, two_steps=two_steps)
    return {"configurations": tried, "one_configuration_because": reason}


def _forgetting(found: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Mean loss a token on the engine's unrelated text before and after tuning; None where nothing was tuned."""
    return {"before": found["before"], "after": found["after"]} if found and None not in (found["before"], found["after"]) else None


def _efforts(answered: Sequence[Answered]) -> dict[str, Effort]:
    """{approach: what making it took}: every seed and configuration counts, for the choice among them was part of the work.

    So does, once, asking the teacher, and the making of the tuned prompt that training started from, and of the one before it.
    """
    runs: dict[Approach, list[Run]] = {}
    for each in answered:
        runs.setdefault(each.approach, []).append(each.run)
    return {str(approach.pk): _making(approach, made) for approach, made in runs.items()}


def _making(approach: Approach, runs: Sequence[Run]) -> Effort:
    teacher = teaching_cost(approach, runs)
    seconds = _start_seconds(approach) + sum(map(_training_seconds, runs)) + teacher.seconds
    return Effort(device_seconds=seconds, hosted=teacher.hosted or _search_bill(runs))


def _search_bill(runs: Sequence[Run]) -> TokenUse | None:
    """What a search on an endpoint was billed; it has one run."""
    bills = [bill for run in runs if (bill := ((run.result.get("written") or {}).get("search") or {}).get("billed"))]
    return TokenUse(bills[0]["input"], bills[0]["output"]) if bills else None


def _start_seconds(approach: Approach) -> float:
    start = approach.start_artifact
    return _training_seconds(start.run) + _start_seconds(start.run.approach) if start else 0.0


def _training_seconds(run: Run) -> float:
    training = run.result.get("training") or {}
    return sum(float(training.get(part) or 0) for part in ("train_seconds", "evaluation_seconds", "sweep_seconds"))


def _tokens(means: Mapping[str, float]) -> dict[str, float | None]:
    """The three counts a request: context (with its parts), computed, billed. All unknown where the method reads no tokens."""
    parts = {name: means.get(key) for name, key in TOKENS.items()}
    known = [value for value in parts.values() if value is not None]
    context = sum(known) if any(known) else None
    return {**parts, "context": context, "computed": means.get("computed_tokens") if context else None, "billed": None}


def _generation(experiment: Experiment) -> dict[str, str]:
    """How the answers were written and which form was asked of them, in words."""
    rules = GenerationPlan.from_json(experiment.generation)
    return {"written": rules.described(), "form": rules.asked_form()}


def _billed_tokens(endpoint: Mapping[str, Any]) -> dict[str, float | None]:
    """What an endpoint billed for a request, on average. How its model divides and computes them stays on its side."""
    read, written = endpoint["billed"]["input"], endpoint["billed"]["output"]
    billed = None if read is None or written is None else read + written
    unknown = dict.fromkeys(("fixed", "row", "virtual", "computed"))
    return {**unknown, "completion": written, "context": billed, "billed": billed, "billed_input": read, "billed_output": written}


def _missing(experiment: Experiment, present: set[UUID]) -> list[dict[str, str]]:
    """Approaches without an answer on the split, with the reason that their job gives."""
    runs = Run.objects.filter(approach__experiment=experiment).exclude(approach__in=present).select_related("approach", "job")
    missing: dict[str, dict[str, str]] = {}
    for run in runs:
        line = {"name": run.approach.name, "family": run.approach.family, "state": run.job.state, "reason": run.job.error}
        missing.setdefault(str(run.approach_id), line)
    return list(missing.values())


def _circumstances(answered: Sequence[Answered]) -> dict[str, Any]:
    """Where the numbers come from: devices, number formats and model fingerprints, each named once."""
    results = [each.run.result for each in answered]
    names = {key: sorted({str(result[key]) for result in results if result.get(key)}) for key in ("device", "device_name", "dtype")}
    versions: dict[str, str] = next((result["versions"] for result in results if result.get("versions")), {})
    return {**names, "versions": versions}
