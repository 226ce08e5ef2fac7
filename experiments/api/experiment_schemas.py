"""Shapes of comparisons on the wire. Knows no rule about what may be compared; `experiments.planning.checks` does."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import StringConstraints

from experiments.api.fields import LongText, Name, Seed, ShortText, WaitingFor
from experiments.catalogue.generation import HELP
from experiments.catalogue.recipes import PACK
from experiments.models import Approach, Experiment, Focus, Run, TestOpening
from experiments.presence import queues_health
from experiments.services.experiment_jobs import open_jobs

OptionValue = int | float | str | list[str] | None
State = Literal["planned", "running", "finished"]


class TeacherIn(Schema):
    """Whose answers to train or unlabelled rows an approach learns, instead of labels. One of the two."""

    prompt_version: UUID | None = Field(None, description="A prompt that the approach's own model answers.")
    answers: UUID | None = Field(None, description="Answers that a run has given (`POST runs/…/answers`), by whatever model.")


class ApproachIn(Schema):
    """One contender, spelled out."""

    recipe: ShortText
    prompt_version: UUID
    backbone: UUID | None = Field(None, description="The bundled starter unless told.")
    options: dict[str, OptionValue] = {}
    name: ShortText = ""
    start_from: UUID | None = Field(None, description="A tuned prompt (`artifact` of a run) that training starts from.")
    teacher: TeacherIn | None = Field(None, description="For any tuned approach; `distilled` needs one.")


class GenerationIn(Schema):
    """How every approach writes free answers, and the form that answers must keep. Only for data whose task is extraction."""

    max_new_tokens: int = Field(32, ge=1, le=4096, description=HELP["max_new_tokens"])
    temperature: float = Field(0.0, ge=0.0, le=5.0, allow_inf_nan=False, description=HELP["temperature"])
    top_p: float = Field(1.0, gt=0.0, le=1.0, description=HELP["top_p"])
    seed: Seed = Field(0, description=HELP["seed"])
    stop: list[ShortText] = Field(["\n"], max_length=16, description="Texts at which an answer ends; they are not part of it.")
    json_rules: dict[str, Any] | None = Field(None, alias="json_schema", description=HELP["json_schema"])
    pattern: Annotated[str, StringConstraints(max_length=1_000)] = Field("", description=HELP["pattern"])
    min_characters: int = Field(0, ge=0, le=100_000, description=HELP["min_characters"])
    max_characters: int = Field(0, ge=0, le=100_000, description=HELP["max_characters"])


class BudgetIn(Schema):
    """What hosted models may be asked and may bill."""

    endpoint_requests: int | None = Field(None, ge=0, le=10**9, description="Most calls of hosted models; none sets no limit.")
    endpoint_money: Decimal | None = Field(
        None, ge=0, max_digits=14, decimal_places=6, description="Most that hosted models may bill, in the price book's currency."
    )


class ExperimentIn(BudgetIn):
    """Either `prompts` with `recipes`, as on the form, or `approaches` one by one. The plain baselines join `prompts` by themselves."""

    name: Name
    dataset_version: UUID
    prompts: list[UUID] = Field([], max_length=50, description="Prompt versions.")
    recipes: list[ShortText] = Field(list(PACK), max_length=50)
    backbone: UUID | None = Field(None, description="The bundled starter unless told.")
    tuned_prompt: UUID | None = Field(None, description="The prompt version that tuned approaches start from; the first unless told.")
    options: dict[str, dict[str, OptionValue]] = Field({}, description="Settings by recipe.")
    start_from: dict[str, UUID] = Field({}, description="Tuned prompts (`artifact` of a run) that training starts from, by recipe.")
    teachers: dict[str, TeacherIn] = Field(
        {}, description="By recipe; `distilled` learns from the prompt with the most examples unless told."
    )
    approaches: list[ApproachIn] = Field([], max_length=50)
    seeds: list[Seed] = Field([0, 1], min_length=1, max_length=20)
    configurations: int = Field(
        1, ge=1, le=64, description="How many each approach tries on validation rows, where it can; `options` may say otherwise for one."
    )
    description: LongText = ""
    price_book: UUID | None = None
    too_long: Literal["refuse", "truncate", "skip"] = "refuse"
    truncate_column: ShortText = ""
    endpoints: list[UUID] = Field([], max_length=10, description="Hosted models that answer the written prompts beside `backbone`.")
    monthly_requests: int = Field(100_000, ge=1, le=10**12)
    margin: float = Field(0.01, ge=0.0, le=1.0, allow_inf_nan=False)
    open_test_when_finished: bool = False
    curve_when_finished: bool = Field(False, description="Draw the learning curve when every run has ended.")
    generation: GenerationIn = Field(default_factory=lambda: GenerationIn.model_validate({}))
    launch: bool = False


class FocusOut(Schema):
    """What a second round sees more often; see `/runs/{id}/mistakes`."""

    run: UUID | None = Field(alias="run_id")
    times: int
    odds: float
    num_rows: int
    num_left_out: int

    @staticmethod
    def resolve_num_rows(focus: Focus) -> int:
        return len(focus.rows)

    @staticmethod
    def resolve_num_left_out(focus: Focus) -> int:
        return len(focus.left_out)


class ApproachOut(Schema):
    id: UUID
    name: str
    family: str
    method: str
    recipe: dict[str, Any]
    backbone: UUID | None = Field(None, alias="backbone_id")
    prompt_version: UUID | None = Field(None, alias="template_version_id")
    start_from: UUID | None = Field(None, alias="start_artifact_id")
    teacher_prompt: UUID | None = Field(None, alias="teacher_version_id")
    teacher_answers: UUID | None = Field(None, alias="teacher_evaluation_id")
    teaching: dict[str, Any] = Field(description="What is learned of the teacher; empty when nobody teaches it.")
    focus: FocusOut | None = Field(None, description="Train rows that training shows more often, in a second round.")
    train_rows: int | None = Field(None, description="Train rows of a point of a learning curve; null for all.")

    @staticmethod
    def resolve_focus(approach: Approach) -> Focus | None:
        return getattr(approach, "focus", None)


class RunOut(Schema):
    id: UUID
    approach: UUID = Field(alias="approach_id")
    seed: int
    state: str = Field(alias="job.state")
    progress: dict[str, Any] = Field(alias="job.progress")
    error: str = Field(alias="job.error")
    artifact: UUID | None = Field(None, description="The tuned prompt that it left.")

    @staticmethod
    def resolve_artifact(run: Run) -> UUID | None:
        return run.artifact.pk if hasattr(run, "artifact") else None


class BaselineIn(Schema):
    approach: UUID | None = Field(None, description="One of the comparison's approaches; null for the best written prompt.")


class PricesIn(Schema):
    price_book: UUID


class ExperimentOut(Schema):
    id: UUID
    name: str
    state: State
    dataset_version: UUID = Field(alias="dataset_version_id")
    learning_curve_of: UUID | None = Field(None, alias="curve_of_id", description="The comparison whose learning curve it is.")
    created_at: datetime
    launched_at: datetime | None
    finished_at: datetime | None

    @staticmethod
    def resolve_state(experiment: Experiment) -> State:
        if experiment.finished_at:
            return "finished"
        return "running" if experiment.launched_at else "planned"


class ExperimentDetail(ExperimentOut):
    description: str
    seeds: list[int]
    configurations: int
    generation: dict[str, Any] = Field(description="How free answers are written; empty for a classification.")
    test_opened: bool
    waiting_for: WaitingFor
    approaches: list[ApproachOut]
    runs: list[RunOut]

    @staticmethod
    def resolve_test_opened(experiment: Experiment) -> bool:
        return TestOpening.objects.filter(experiment=experiment).exists()

    @staticmethod
    def resolve_waiting_for(experiment: Experiment) -> list[str]:
        return queues_health(open_jobs(experiment).order_by("queue").values_list("queue", flat=True).distinct())

    @staticmethod
    def resolve_approaches(experiment: Experiment) -> Iterable[Approach]:
        return list(experiment.approaches.select_related("focus"))

    @staticmethod
    def resolve_runs(experiment: Experiment) -> Iterable[Run]:
        return list(Run.objects.filter(approach__experiment=experiment).select_related("job", "approach", "artifact"))


class LearningCurveOut(Schema):
    """A learning curve: `experiment` names the comparison that its runs stand in; `results` are empty until they have ended."""

    experiment: UUID = Field(alias="id")
    state: State
    results: dict[str, Any] = Field(alias="learning_curve")

    @staticmethod
    def resolve_state(experiment: Experiment) -> State:
        return ExperimentOut.resolve_state(experiment)


class TrialOut(Schema):
    """One configuration that a run tried. Figures are those of its last look, on `rows` validation rows; `looks` holds all."""

    number: int = Field(description="0 is the configuration that was set: the prompt as written, the options as given.")
    name: str
    rung: int
    rows: int
    accuracy: float | None
    loss: float | None
    seconds: float
    problem: str
    is_winner: bool
    config: dict[str, Any]
    looks: list[dict[str, Any]]


class ResultsOut(Schema):
    split: str
    computed_at: datetime
    results: dict[str, Any] = Field(alias="payload")
