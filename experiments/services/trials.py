"""What a search or a sweep brings home: every trial as soon as it is known, the winner, and its words as a new version of a prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Run, TemplateVersion, Trial
from experiments.prompting.wording import PromptWording
from experiments.services.leases import Lease, lease_renew
from experiments.services.prompts import prompt_version_save

LOOK = ("rung", "rows", "correct", "loss", "tokens", "seconds", "sha256", "step")


def trials_record(*, lease: Lease, looks: Sequence[Mapping[str, Any]]) -> None:
    """Store looks at configurations, the newest look of each in the columns. The same look twice changes nothing.

    Args:
        looks: number, name, config, problem and the keys of LOOK, in the order in which they were made.
    Raises:
        LeaseLost: the fence has moved on; nothing is stored.
    """
    with transaction.atomic():
        lease_renew(lease=lease)
        run_id = lease.payload["run"]
        numbers = {look["number"] for look in looks}
        trials = {trial.number: trial for trial in Trial.objects.filter(run=run_id, number__in=numbers)}
        for look in looks:
            trial = trials.setdefault(look["number"], Trial(run_id=run_id, number=look["number"]))
            _add_look(trial, look)
            trial.attempt_id = lease.attempt_id
        for trial in trials.values():
            trial.save()


def _add_look(trial: Trial, look: Mapping[str, Any]) -> None:
    earlier = [known for known in trial.looks if known["rung"] < look["rung"] and known["sha256"] == look["sha256"]]
    trial.looks = [*earlier, {key: look.get(key) for key in LOOK}]
    trial.name, trial.config, trial.problem = look["name"][:300], look["config"], look["problem"]
    trial.rung, trial.rows, trial.loss, trial.seconds = look["rung"], look["rows"], look["loss"], look["seconds"]
    trial.accuracy = None if look["correct"] is None or not look["rows"] else look["correct"] / look["rows"]


def trial_win(*, run_id: Any, number: int) -> None:
    """Mark the configuration that a run keeps."""
    Trial.objects.filter(run=run_id).update(is_winner=False)
    Trial.objects.filter(run=run_id, number=number).update(is_winner=True)


def search_finish(*, run: Run, search: Mapping[str, Any]) -> TemplateVersion | None:
    """Mark the winner, and keep it as a version of the prompt that the search started from.

    Returns:
        The version with these words, a new one unless the prompt has it already; None when the prompt as written stayed the best,
        or when its words cannot be kept.
    """
    trial_win(run_id=run.pk, number=search["winner"])
    source = run.approach.template_version
    if search["winner"] == 0 or source is None:
        return None
    wording = wording_found(search["wording"])
    # The same search finds the same words again, in another comparison or after others have been saved.
    if known := source.template.versions.filter(content_sha256=wording.ordered().sha256).first():
        return known
    try:
        with transaction.atomic():
            found = prompt_version_save(
                template=source.template,
                by=run.job.created_by,
                wording=wording,
                dataset_version=run.approach.experiment.dataset_version,
                note=f"Prompt search: {search['winner_name']}",
            )
    except UserError:
        # The score stands whatever becomes of the words; the run's page shows them.
        return None
    TemplateVersion.objects.filter(pk=found.pk, optimised_by=None, created_at__gte=run.created_at).update(
        optimised_from=source, optimised_by=run
    )
    return found


def wording_found(wording: Mapping[str, Any]) -> PromptWording:
    """The engine's words of a prompt as a person would have written them; examples name their train rows again."""
    examples = [
        {"example": int(shown["id"]) if shown["id"] else None, "fields": shown["fields"], "label": shown["label"]}
        for shown in wording["demonstrations"]
    ]
    return PromptWording(
        user=wording["user"],
        system=wording["system"],
        answer_cue=wording["answer_cue"],
        answer_words=wording["answer_words"],
        demonstrations=examples,
    )
