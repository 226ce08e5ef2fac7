"""What a person asks for before anything is stored: which approaches, on which data, with which seeds. Reads and writes no table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from experiments.catalogue.configurations import reason_for_one, with_configurations
from experiments.catalogue.generation import GenerationPlan
from experiments.catalogue.kinds import BASELINE, ENGINEERED, RecipeKind
from experiments.catalogue.recipes import recipe_get
from experiments.models import Artifact, Backbone, DatasetVersion, PriceBook, Run, Split, TemplateVersion
from experiments.models.comparisons import TooLong
from experiments.planning.teachers import Teacher, taught_splits

HOSTED = "hosted"
WITHOUT_MODEL = frozenset({"majority", "label_overlap", "tfidf_logreg"})


@dataclass(frozen=True)
class FocusPlan:
    """Train rows that a run got wrong or right by little, as ids, and how often training shows them; see `models.Focus`."""

    run: Run
    rows: tuple[int, ...]
    times: int
    odds: float
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class ApproachPlan:
    """One contender: a line of the catalogue with a model, a prompt and its own settings.

    Baselines carry the prompt and the model too: they see the same columns and answer words, and the probe reads the model.

    Args:
        start: the tuned prompt that training starts from, instead of the recipe's own start.
        teacher: whose answers to train or unlabelled rows it learns, instead of labels.
        focus: train rows that training shows more often, and those that it leaves out.
    """

    recipe: str
    backbone: Backbone
    template_version: TemplateVersion
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    start: Artifact | None = None
    teacher: Teacher | None = None
    focus: FocusPlan | None = None

    @property
    def kind(self) -> RecipeKind:
        return recipe_get(self.recipe)

    @property
    def family(self) -> str:
        """What kind of contender it is; a written prompt on an endpoint is one of its own."""
        return HOSTED if self.asks_endpoint else self.kind.family

    @property
    def asks_endpoint(self) -> bool:
        """Whether its answers come from a hosted model. A plain baseline asks none, whatever model was chosen beside it."""
        return self.backbone.is_hosted and self.kind.method not in WITHOUT_MODEL

    @property
    def needs_train(self) -> bool:
        """Whether it learns from train rows; a student may hear its teacher on unlabelled rows alone."""
        is_elsewhere = self.teacher is not None and Split.TRAIN not in taught_splits(self.options.get("learns_on"))
        return self.kind.needs_train and not is_elsewhere

    @property
    def takes_two_steps(self) -> bool:
        """Whether a prompt with a first step can be run; plain baselines read its columns and no step of it."""
        return self.kind.method == "hard_prompt" or self.kind.family == BASELINE

    @property
    def steps_a_row(self) -> int:
        """How often the model is asked about a row."""
        return 2 if self.template_version.first_step and self.kind.method == "hard_prompt" else 1

    @property
    def reason_for_one(self) -> str:
        """Why it tries only the configuration that was set; empty where it can try more."""
        defaults = {option.name: option.default for option in self.kind.options}
        given = {name: value for name, value in self.options.items() if value not in (None, "")}
        return reason_for_one(self.family, self.kind.method, {**defaults, **given}, two_steps=self.steps_a_row == 2)

    def trying(self, configurations: int) -> "ApproachPlan":
        """The same contender, which tries this many configurations where it can."""
        if configurations <= 1 or self.reason_for_one:
            return self
        return replace(self, options=with_configurations(self.kind.method, self.options, configurations))

    @property
    def shown_name(self) -> str:
        """The given name, or one made of the approach and, where it tells prompts apart, the prompt."""
        if self.name:
            return self.name[:160]
        if self.kind.family == ENGINEERED:
            where = f" on {self.backbone.name}" if self.backbone.is_hosted else ""
            return f"{self.kind.name}: {self.template_version.template.name} v{self.template_version.number}{where}"[:160]
        return self.kind.name


@dataclass(frozen=True)
class ExperimentPlan:
    """A whole comparison before it is stored.

    Args:
        seeds: seeds of the tuned approaches; the others run once.
        margin: non-inferiority margin, a share of rows (0.01 = one point).
        monthly_requests: the volume that the money columns assume.
        generation: how free answers are written; a classification has none.
        curve_when_finished: whether the learning curve follows when every run has ended.
        endpoint_requests, endpoint_money: the most that hosted endpoints may be called, and may bill; None is no limit.
        configurations: how many each approach tries on validation rows, unless its own options say otherwise.
    """

    name: str
    dataset_version: DatasetVersion
    approaches: tuple[ApproachPlan, ...]
    seeds: tuple[int, ...] = (0, 1)
    description: str = ""
    price_book: PriceBook | None = None
    too_long: str = TooLong.REFUSE.value
    truncate_column: str = ""
    monthly_requests: int = 100_000
    margin: float = 0.01
    endpoint_requests: int | None = None
    endpoint_money: Decimal | None = None
    open_test_when_finished: bool = False
    curve_when_finished: bool = False
    generation: GenerationPlan = field(default_factory=GenerationPlan)
    configurations: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "approaches", tuple(each.trying(self.configurations) for each in self.approaches))

    def seeds_of(self, approach: ApproachPlan) -> tuple[int, ...]:
        return self.seeds if approach.kind.is_tuned else (0,)

    @property
    def curve_methods(self) -> list[str]:
        """Methods of the approaches that a learning curve may have points of: an endpoint would bill every row of every point."""
        return [approach.kind.method for approach in self.approaches if not approach.asks_endpoint]

    @property
    def num_runs(self) -> int:
        return sum(len(self.seeds_of(approach)) for approach in self.approaches)
