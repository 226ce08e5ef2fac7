"""The demonstration, from an empty workspace to a launched comparison, through the same services as the pages.

Nothing here is faster or simpler than what a person does: the file is uploaded, read and checked by the workers, the prompts are
saved as versions, and the comparison is launched once and opens its test set when every run has ended.
"""

import csv
import io
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

from experiments.catalogue.recipes import BASELINES
from experiments.demo.prompts import CAREFUL, WORDINGS, Wording
from experiments.errors import UserError
from experiments.intake.mapping import ColumnMapping
from experiments.intake.splits import Shares
from experiments.models import (
    AuditEntry,
    Backbone,
    Dataset,
    DatasetVersion,
    Experiment,
    Job,
    JobState,
    PriceBook,
    PromptTemplate,
    TemplateVersion,
    User,
    Workspace,
)
from experiments.models.backbones import BackboneKind
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.prompting.wording import PromptWording
from experiments.reads.prompts import demonstrations_draw
from experiments.services.datasets import dataset_create, dataset_upload, dataset_version_map
from experiments.services.launches import experiment_start
from experiments.services.prices import price_book_create
from experiments.services.prompts import demonstrations_of, prompt_create

FOLDER = Path(__file__).parent
LAUNCH_KEY = "demonstration"
NAME = "Which way to triage support messages?"
DATA_NAME = "Banking77 as support triage"
ATTRIBUTION = (
    "Banking77, PolyAI-LDN/task-specific-datasets; Casanueva et al. 2020, “Efficient Intent Detection with Dual Sentence Encoders”; "
    "CC BY 4.0. The 77 intents are mapped to 12 support queues by PromptLab's own table."
)
FEW_SHOT = "Careful wording with an example per queue"
SEEDS = (0, 1)
SHARES = Shares(train=0.95, validation=0.05, test=0.0)
# Budgets in steps, so that the result does not depend on the speed of the machine.
_BUDGET = {"max_steps": 100, "evaluate_every": 25, "validation_rows": 128}
BUDGETS: dict[str, dict[str, int]] = {"soft_prompt": _BUDGET, "hybrid": _BUDGET, "lora": _BUDGET}
# List prices of a small cloud machine and of office work, to be replaced by the team's own.
PRICES = {
    "device_hour": Decimal("0.20"),
    "wrong_answer": Decimal("0.50"),
    "labelled_row": Decimal("0.05"),
    "person_hour": Decimal("60"),
}
JOB_SECONDS = 120.0


def demonstration_launch(*, workspace: Workspace, by: User) -> Experiment:
    """The demonstration's comparison, launched once and found again afterwards. Needs running workers to read the data.

    Raises:
        UserError: the data could not be read, in a sentence.
    """
    known = Experiment.objects.filter(workspace=workspace, launch_key=LAUNCH_KEY).first()
    if known:
        return known
    version = _data(workspace, by)
    prompts = [_prompt(workspace, by, version, wording) for wording in WORDINGS]
    few_shot = _few_shot(workspace, by, version)
    plan = ExperimentPlan(
        name=NAME,
        description="Three written prompts of different care, examples in the prompt, and three ways of tuning, on one small model.",
        dataset_version=version,
        approaches=tuple(_approaches(prompts, few_shot)),
        seeds=SEEDS,
        price_book=_prices(workspace, by),
        open_test_when_finished=True,
    )
    return experiment_start(workspace=workspace, by=by, plan=plan, key=LAUNCH_KEY)


def demonstration_deleted(workspace: Workspace) -> AuditEntry | None:
    """Who threw the demonstration away, and when; None while it stands or was never made."""
    if Experiment.objects.filter(workspace=workspace, launch_key=LAUNCH_KEY).exists():
        return None
    deleted = AuditEntry.objects.filter(workspace=workspace, verb="deleted", target_kind=Experiment._meta.verbose_name)
    return deleted.filter(target_name=NAME).first()


def triage_csv() -> bytes:
    """Both official splits as one file with the columns text, queue and split."""
    queues = {row["intent"]: row["queue"] for row in _rows(FOLDER / "queues.csv")}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["text", "queue", "split"])
    for split in ("train", "test"):
        writer.writerows([row["text"], queues[row["category"]], split] for row in _rows(FOLDER / "banking77" / f"{split}.csv"))
    return out.getvalue().encode()


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _data(workspace: Workspace, by: User) -> DatasetVersion:
    """The complete data version, continued from wherever an earlier start left it."""
    dataset = Dataset.objects.filter(workspace=workspace, name=DATA_NAME).first() or dataset_create(
        workspace=workspace, by=by, name=DATA_NAME, description="Customer messages to a bank and the queue that answers them.",
        attribution=ATTRIBUTION,
    )  # fmt: skip
    version = dataset.versions.first() or dataset_upload(dataset=dataset, by=by, file=io.BytesIO(triage_csv()), name="banking77.csv")
    if version.completed_at:
        return version
    _wait_for(version.job)
    version.refresh_from_db()
    if not version.mapping:
        mapping = ColumnMapping(("text",), "queue", split_column="split", split_meaning={"train": "train", "test": "test"}, shares=SHARES)
        _wait_for(dataset_version_map(version=version, by=by, mapping=mapping))
    version.refresh_from_db()
    return version


def _wait_for(job: Job | None) -> None:
    deadline = time.monotonic() + JOB_SECONDS
    while job and not job.has_ended:
        if time.monotonic() > deadline:
            raise UserError(f"No worker has finished “{job.get_kind_display()}” within {JOB_SECONDS:.0f} s.")
        time.sleep(0.1)
        job.refresh_from_db()
    if job and job.state != JobState.SUCCEEDED:
        raise UserError(job.error or f"“{job.get_kind_display()}” has ended as {job.get_state_display().lower()}.")


def _prompt(workspace: Workspace, by: User, version: DatasetVersion, wording: Wording) -> TemplateVersion:
    words = PromptWording(user=wording.user, answer_cue=wording.answer_cue)
    return _newest(workspace, wording.name) or prompt_create(
        workspace=workspace, by=by, name=wording.name, description=wording.description, wording=words, dataset_version=version
    )


def _few_shot(workspace: Workspace, by: User, version: DatasetVersion) -> TemplateVersion:
    """The careful wording with one drawn train row of each queue in front of the row."""
    known = _newest(workspace, FEW_SHOT)
    if known:
        return known
    shown = demonstrations_of(version, demonstrations_draw(version, per_label=1, seed=0))
    words = PromptWording(user=CAREFUL.user, answer_cue=CAREFUL.answer_cue, demonstrations=shown)
    return prompt_create(workspace=workspace, by=by, name=FEW_SHOT, wording=words, dataset_version=version)


def _newest(workspace: Workspace, name: str) -> TemplateVersion | None:
    template = PromptTemplate.objects.filter(workspace=workspace, name=name).first()
    return template.versions.first() if template else None


def _approaches(prompts: list[TemplateVersion], few_shot: TemplateVersion) -> Iterator[ApproachPlan]:
    """Three zero-shot prompts, few-shot, what is tuned from the careful prompt, and the plain baselines."""
    starter = Backbone.objects.get(workspace=None, kind=BackboneKind.BUNDLED)
    careful = prompts[-1]
    yield from (ApproachPlan("zero_shot", starter, prompt) for prompt in prompts)
    yield ApproachPlan("few_shot", starter, few_shot)
    yield from (ApproachPlan(recipe, starter, careful, budget) for recipe, budget in BUDGETS.items())
    yield from (ApproachPlan(recipe, starter, careful) for recipe in BASELINES)


def _prices(workspace: Workspace, by: User) -> PriceBook:
    known = PriceBook.objects.filter(workspace=workspace).first()
    return known or price_book_create(
        workspace=workspace, name="Demonstration prices", currency="USD", effective_on=date(2026, 1, 1), prices=PRICES, by=by
    )
