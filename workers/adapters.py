"""A job's rows become the engine's RunSpec. With `workers.outcomes`, the only place where both vocabularies meet."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings

from experiments.catalogue.generation import GenerationPlan
from experiments.errors import UserError
from experiments.models import (
    Artifact,
    Backbone,
    DatasetVersion,
    Evaluation,
    Example,
    Focus,
    Job,
    JobKind,
    JobState,
    Preview,
    Run,
    Split,
    TemplateVersion,
)
from experiments.models.backbones import BackboneKind
from experiments.models.comparisons import Family
from experiments.planning.teachers import answers_heard, taught_splits
from experiments.prompting.chains import FirstStep
from workers.engine.contract.answer_rules import AnswerFormat, Generation
from workers.engine.contract.latency_spec import LatencySpec
from workers.engine.contract.outcome import write_json
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Recipe, RunSpec
from workers.engine.contract.teaching_rules import Teaching
from workers.engine.contract.template_spec import Demonstration, TemplateSpec, Variant
from workers.engine.contract.template_spec import FirstStep as WrittenFirst
from workers.inputs import artifact_folder, drawn_file, focused_file, rows_file, sample_file, split_file
from workers.teachers import answers_file, bring_journal

STARTER = Path(__file__).parent / "starter" / "model"
LATENCY_REQUESTS = 200
PREVIEW = "preview"
WORDING = ("system", "user", "answer_cue", "answer_words", "demonstrations", "first_step")


@dataclass(frozen=True)
class Order:
    """A job as the engine host gets it. `folder` is the attempt's own; nothing else is written to.

    throw_away: the job changes the model's own weights, so no other job may use its host.
    """

    request: dict[str, Any]
    folder: Path
    time_limit_seconds: float | None = None
    throw_away: bool = False


def order_of(job: Job, *, fence: int) -> Order:
    """Write what the engine needs for this attempt, and the request that starts it.

    Raises:
        UserError, BadSpec: the job asks for what this worker cannot do, in a sentence.
    """
    identity = f"{job.pk}:{fence}"
    folder = Path(settings.ATTEMPTS_DIR) / str(job.pk) / str(fence)
    folder.mkdir(parents=True, exist_ok=True)
    if job.kind == JobKind.INSPECT:
        backbone = Backbone.objects.get(pk=job.payload["backbone"])
        return Order({"op": "inspect", "id": identity, "backbone": plain(backbone_ref(backbone))}, folder)
    if job.kind == JobKind.LATENCY:
        timed = _latency_spec(job)
        write_json(folder / "spec.json", timed)
        request = {"op": "latency", "id": identity, "spec": str(folder / "spec.json"), "out": str(folder / "out")}
        return Order(request, folder, throw_away=any(METHODS[run["recipe"]["method"]].replaces_weights for run in timed["runs"]))
    spec = SPECS[JobKind(job.kind)](job, folder)
    write_json(folder / "spec.json", spec.to_json())
    request = {"op": "run", "id": identity, "spec": str(folder / "spec.json"), "out": str(folder / "out")}
    return Order(request, folder, spec.time_limit_seconds, throw_away=METHODS[spec.recipe.method].replaces_weights)


def hosted_backbone_of(job: Job) -> Backbone | None:
    """The endpoint's model that a job asks; None when the job needs an engine host."""
    if job.kind == JobKind.INSPECT:
        backbone = Backbone.objects.get(pk=job.payload["backbone"])
    elif job.kind == JobKind.PREVIEW:
        backbone = Preview.objects.select_related("backbone").get(pk=job.payload["preview"]).backbone
    elif job.kind in (JobKind.RUN, JobKind.EVALUATE):
        runs = Run.objects.select_related("approach__backbone")
        run = runs.get(pk=job.payload["run"]) if job.kind == JobKind.RUN else runs.get(evaluations=job.payload["evaluation"])
        if run.approach.family != Family.HOSTED or run.approach.backbone is None:
            return None
        backbone = run.approach.backbone
    else:
        return None
    return backbone if backbone.is_hosted else None


def evaluation_name(evaluation: Evaluation) -> str:
    """The engine's name for an evaluation: the split, and the suite and repetition where they are not the usual ones."""
    parts = [evaluation.split]
    if evaluation.suite != "plain" or evaluation.repetition:
        parts += [evaluation.suite, str(evaluation.repetition)]
    return "-".join(parts)


def backbone_ref(backbone: Backbone) -> BackboneRef:
    """Where the engine finds a model.

    Raises:
        UserError: this worker may not load models from there.
    """
    if backbone.kind == BackboneKind.BUNDLED:
        return BackboneRef(str(STARTER), dtype=backbone.dtype)
    if backbone.kind == BackboneKind.HOSTED:
        return BackboneRef(backbone.source)  # never loaded; the key is not part of it
    if backbone.kind == BackboneKind.LOCAL:
        return BackboneRef(str(_allowed_folder(backbone)), dtype=backbone.dtype)
    if not settings.HF_HUB_ALLOWED:
        raise UserError(
            f"The model {backbone.name} lies on the Hugging Face Hub, and this installation loads nothing from there. "
            "Set HF_HUB_ALLOWED=1 for the workers, or register a local folder instead."
        )
    return BackboneRef(backbone.source, revision=backbone.revision or None, dtype=backbone.dtype)


def plain(ref: BackboneRef) -> dict[str, Any]:
    """A backbone reference as JSON."""
    return {"source": ref.source, "revision": ref.revision, "dtype": ref.dtype, "device": ref.device, "attention": ref.attention}


def _allowed_folder(backbone: Backbone) -> Path:
    folder = Path(backbone.source).resolve()
    if not any(folder.is_relative_to(Path(allowed).resolve()) for allowed in settings.MODEL_FOLDERS):
        raise UserError(
            f"The folder of the model {backbone.name} is not below any of the folders in MODEL_FOLDERS. "
            "Move it there, or ask whoever runs this installation to add its folder."
        )
    return folder


def _run_spec(job: Job, folder: Path) -> RunSpec:
    """Make an approach with one seed, and score it on the evaluations that belong to the job."""
    runs = Run.objects.select_related("approach__backbone", "approach__template_version", "approach__start_artifact")
    run = runs.select_related("approach__teacher_version", "approach__teacher_evaluation__run__approach").get(pk=job.payload["run"])
    spec = _approach_spec(run, _targets(job))
    if run.approach.method == "prompt_search":
        spec = replace(spec, variants=_variants(run))
    if METHODS[run.approach.method].family == "prompt":
        spec = replace(spec, trials=_trials(run, folder / "trials.jsonl"))
    if run.approach.teaching:
        spec = _taught(spec, run, folder)
    if METHODS[run.approach.method].family == "tuned" or run.approach.method == "dspy_search":
        checkpoints = folder / "checkpoint"
        _bring_checkpoint(checkpoints)
        if spec.teacher:
            bring_journal(run, checkpoints)
        spec = replace(spec, checkpoint_dir=str(checkpoints), resume=True)
    return replace(spec, time_limit_seconds=job.payload.get("time_limit_seconds"))


def _evaluate_spec(job: Job, folder: Path) -> RunSpec:
    """Score an approach that exists on one more evaluation."""
    runs = Run.objects.select_related("approach__backbone", "approach__template_version", "artifact")
    run = runs.get(evaluations=job.payload["evaluation"])
    return replace(_made_spec(run, _targets(job)), time_limit_seconds=job.payload.get("time_limit_seconds"))


def _made_spec(run: Run, evaluate: tuple[EvaluateOn, ...]) -> RunSpec:
    """An approach that exists, with what its run has learned."""
    made = run.result.get("written") or {}
    if fitted := made.get("label_bias"):
        return replace(_approach_spec(run, evaluate), label_bias=fitted, train=None, validation=None)
    if found := made.get("search"):
        return _found_spec(_approach_spec(run, evaluate), found["wording"], run.approach.experiment.dataset_version)
    return _approach_spec(run, evaluate, artifact=_artifact_of(run))


def _latency_spec(job: Job) -> dict[str, Any]:
    """Every approach of a comparison once, by its first seed that succeeded, on validation rows: nothing is chosen or learned by them."""
    runs = Run.objects.filter(approach__experiment=job.payload["experiment"], job__state=JobState.SUCCEEDED)
    runs = runs.exclude(approach__family=Family.HOSTED)
    first: dict[Any, Run] = {}
    for run in runs.select_related("approach__backbone", "approach__template_version").order_by("approach__position", "seed"):
        first.setdefault(run.approach_id, run)
    if not first:
        raise UserError("No run of this comparison has succeeded, so there is nothing to time.")
    specs = tuple(_timed_spec(run) for run in first.values())
    return LatencySpec(specs, LATENCY_REQUESTS, settings.LATENCY_PATIENCE_SECONDS).to_json()


def _timed_spec(run: Run) -> RunSpec:
    rows = split_file(run.approach.experiment.dataset_version, Split.VALIDATION)
    spec = replace(_made_spec(run, (EvaluateOn(Split.VALIDATION, rows),)), id=str(run.approach_id))
    if METHODS[run.approach.method].family != "baseline":
        return spec
    # How fast a plain baseline answers does not hang on what it has learned, so it learns from the few rows that are read anyway.
    return replace(spec, train=rows if spec.train else None, validation=None)


def _artifact_of(run: Run) -> Artifact | None:
    """The tuned part of a run; None for approaches that have none."""
    if METHODS[run.approach.method].family != "tuned":
        return None
    artifact = Artifact.objects.filter(run=run).first()
    if artifact is None:
        raise UserError(f"{run} has no tuned prompt to score: it did not end well. Start it again first.")
    return artifact


def _targets(job: Job) -> tuple[EvaluateOn, ...]:
    evaluations = job.evaluations.select_related("dataset_version")
    return tuple(EvaluateOn(evaluation_name(each), _rows_of(each), labelled=each.split != Split.UNLABELLED) for each in evaluations)


def _rows_of(evaluation: Evaluation) -> FileRef:
    if evaluation.num_rows is None:
        return split_file(evaluation.dataset_version, evaluation.split)
    return sample_file(evaluation.dataset_version, evaluation.split, evaluation.num_rows)


def _explain_spec(job: Job, folder: Path) -> RunSpec:
    """Take the learned tokens of a run's artifact out one by one, on its validation rows."""
    runs = Run.objects.select_related("approach__backbone", "approach__template_version", "artifact")
    run = runs.filter(pk=job.payload["explain"]).first()
    artifact = Artifact.objects.filter(run=run).first() if run else None
    if run is None or artifact is None:
        raise UserError("The tuned prompt to explain is gone: its run was deleted or started again. Wait for it to end, then ask again.")
    version = run.approach.experiment.dataset_version
    return replace(_approach_spec(run, (), artifact=artifact), ablate=True, validation=split_file(version, Split.VALIDATION))


def _found_spec(spec: RunSpec, wording: dict[str, Any], version: DatasetVersion) -> RunSpec:
    """The prompt that a search has found, as a prompt like any other: nothing is searched again."""
    template, words = _template(wording, version), _answer_words(wording, version)
    return replace(spec, template=template, answer_words=words, recipe=Recipe("hard_prompt"), train=None, validation=None)


def _variants(run: Run) -> tuple[Variant, ...]:
    """The other prompts of one step of the comparison, in its order: what people have written for the same task."""
    experiment, own = run.approach.experiment, run.approach.template_version_id
    chosen = TemplateVersion.objects.filter(approaches__experiment=experiment, first_step={}).select_related("template")
    others = chosen.exclude(pk=own) if own else chosen
    version = experiment.dataset_version
    written = {each: _wording(each) for each in dict.fromkeys(others.order_by("approaches__position"))}
    return tuple(Variant(str(each), _template(words, version), _answer_words(words, version)) for each, words in written.items())


def _trials(run: Run, path: Path) -> FileRef | None:
    """What earlier attempts of a search have measured, so that it goes on where it was."""
    looks = [
        {"number": trial.number, "name": trial.name, "config": trial.config, "problem": trial.problem, **look}
        for trial in run.trials.all()
        for look in trial.looks
    ]
    if not looks:
        return None
    path.write_text("".join(json.dumps(look, ensure_ascii=False) + "\n" for look in looks), encoding="utf-8")
    return FileRef(str(path))


def _approach_spec(run: Run, evaluate: tuple[EvaluateOn, ...], *, artifact: Artifact | None = None) -> RunSpec:
    approach, experiment, version = run.approach, run.approach.experiment, run.approach.experiment.dataset_version
    recipe = Recipe(approach.method, approach.recipe)
    needs_rows = (METHODS[approach.method].needs_train or int(recipe.options.get("configurations") or 1) > 1) and artifact is None  # type: ignore[arg-type]
    return RunSpec(
        id=f"{run.pk}",
        backbone=backbone_ref(_backbone_of(run)),
        template=_template(_wording(approach.template_version), version),
        evaluate=evaluate,
        task=version.task,
        labels=tuple(version.labels),
        answer_words=_answer_words(_wording(approach.template_version), version),
        recipe=recipe,
        seed=run.seed,
        train=_train_file(run) if needs_rows and version.split_counts.get(Split.TRAIN) else None,
        validation=split_file(version, Split.VALIDATION) if needs_rows and version.split_counts.get(Split.VALIDATION) else None,
        artifact=str(artifact_folder(artifact)) if artifact else None,
        start_from=str(artifact_folder(approach.start_artifact)) if approach.start_artifact and artifact is None else None,
        too_long=experiment.too_long,
        truncate_column=experiment.truncate_column,
        **_answer_rules(experiment.generation),
        memory_limit_bytes=settings.JOB_MEMORY_LIMIT_BYTES or None,
    )


def _taught(spec: RunSpec, run: Run, folder: Path) -> RunSpec:
    """The run with its teacher: a prompt that its own model answers, or answers that another run has given."""
    approach, version = run.approach, run.approach.experiment.dataset_version
    spec = replace(spec, teaching=Teaching(**approach.teaching), unlabelled=_unlabelled_file(version, approach.teaching))
    if heard := answers_heard(approach):
        return replace(spec, teacher_answers=answers_file(heard, folder / "answers.jsonl"))
    words = _wording(approach.teacher_version)
    teacher = Variant(str(approach.teacher_version), _template(words, version), _answer_words(words, version))
    return replace(spec, teacher=teacher)


def _unlabelled_file(version: DatasetVersion, teaching: dict[str, Any]) -> FileRef | None:
    """The unlabelled rows, where a teacher is to teach them."""
    wanted = Split.UNLABELLED in taught_splits(teaching.get("learns_on"))
    return split_file(version, Split.UNLABELLED) if wanted else None


def _train_file(run: Run) -> FileRef:
    """The train rows of a run: all of them, those it is to see more often marked, or as many as its point of a learning curve has."""
    version, rows = run.approach.experiment.dataset_version, run.approach.train_rows
    focus = Focus.objects.filter(approach=run.approach_id).first()
    if focus:
        return focused_file(version, focus)
    return split_file(version, Split.TRAIN) if rows is None else drawn_file(version, rows, run.seed)


def _answer_rules(stored: dict[str, Any]) -> dict[str, Any]:
    """How free answers are written and which form they keep, as the comparison says; the engine's defaults where it says nothing."""
    rules = GenerationPlan.from_json(stored)
    return {
        "generation": Generation(rules.max_new_tokens, rules.temperature, rules.top_p, rules.seed, rules.stop),
        "answer_format": AnswerFormat(rules.json_schema, rules.pattern, rules.min_characters, rules.max_characters),
    }


def _preview_spec(job: Job, folder: Path) -> RunSpec:
    """A wording tried on a few rows, with the rendered prompts kept."""
    preview = Preview.objects.select_related("backbone", "dataset_version").get(pk=job.payload["preview"])
    version = preview.dataset_version
    rows = Example.objects.filter(pk__in=preview.examples, version=version, split__in=[Split.TRAIN, Split.VALIDATION])
    return RunSpec(
        id=str(preview.pk),
        backbone=backbone_ref(preview.backbone),
        template=_template(preview.wording, version),
        evaluate=(EvaluateOn(PREVIEW, rows_file(rows, folder / "rows.jsonl")),),
        task=version.task,
        labels=tuple(version.labels),
        answer_words=_answer_words(preview.wording, version),
        keep_prompts=True,
    )


def _backbone_of(run: Run) -> Backbone:
    if run.approach.backbone is None:
        raise UserError(f"The approach “{run.approach.name}” names no model. Choose one and launch the comparison again.")
    return run.approach.backbone


def _wording(written: TemplateVersion | None) -> dict[str, Any]:
    """A stored prompt in the shape that previews use; empty when the approach has none."""
    return {field: getattr(written, field) for field in WORDING} if written else {}


def _template(wording: dict[str, Any], version: DatasetVersion) -> TemplateSpec:
    """The hard prompt; without one, the bare frame: the row's columns, one a line."""
    demonstrations = wording.get("demonstrations") or []
    first = FirstStep.from_json(wording.get("first_step") or {})
    return TemplateSpec(
        user=wording.get("user") or "\n".join(f"{{{{{column}}}}}" for column in version.columns),
        system=wording.get("system", ""),
        answer_cue=wording.get("answer_cue", ""),
        demonstrations=tuple(Demonstration(shown["fields"], shown["label"], _row_id(shown)) for shown in demonstrations),
        first_step=WrittenFirst(first.text, Generation(first.max_tokens, stop=first.stop)) if first else None,
    )


def _row_id(shown: dict[str, Any]) -> str:
    return str(shown.get("example") or shown.get("id") or "")


def _answer_words(wording: dict[str, Any], version: DatasetVersion) -> dict[str, tuple[str, ...]]:
    """Words of the labels that this data has; a prompt may know more labels than one version of the data."""
    known = {label: given for label, given in wording.get("answer_words", {}).items() if label in version.labels and given}
    return {label: (given,) if isinstance(given, str) else tuple(given) for label, given in known.items()}


def _bring_checkpoint(folder: Path) -> None:
    """Copy the newest checkpoint of an earlier attempt on this machine. Two attempts never write to the same folder.

    A copy torn by an attempt that still writes is refused by the checkpoint's own hashes, and the run starts from the beginning.
    """
    attempt = folder.parent
    earlier = [path for path in attempt.parent.glob(f"*/{folder.name}") if int(path.parent.name) < int(attempt.name)]
    if earlier:
        newest = max(earlier, key=lambda path: int(path.parent.name))
        shutil.copytree(newest, folder, dirs_exist_ok=True)


SPECS = {
    JobKind.RUN: _run_spec,
    JobKind.EVALUATE: _evaluate_spec,
    JobKind.PREVIEW: _preview_spec,
    JobKind.EXPLAIN: _explain_spec,
}
