"""A second round: a tuned prompt trained further with its mistakes shown more often, beside the same training without that. A plan only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.catalogue.generation import GenerationPlan
from experiments.catalogue.kinds import OptionValue
from experiments.catalogue.recipes import kind_of
from experiments.errors import UserError
from experiments.models import Artifact, Run
from experiments.planning.mistakes import USUAL_ODDS, Mistakes
from experiments.planning.plans import ApproachPlan, ExperimentPlan, FocusPlan
from experiments.wording import counted

MAX_TIMES = 20
MAX_ODDS = 100.0
USUAL_TIMES = 4


@dataclass(frozen=True)
class RoundChoice:
    """What a person chooses.

    Args:
        times: how often each of the rows is shown in a pass over the train rows.
        odds: see `mistakes_of`.
        left_out: train rows whose label is wrong, besides those that a mark doubts.
        has_control: whether the same training without the focus runs beside it.
    """

    times: int = USUAL_TIMES
    odds: float = USUAL_ODDS
    left_out: Sequence[int] = ()
    has_control: bool = True
    name: str = ""


def round_plan(run: Run, artifact: Artifact, mistakes: Mistakes, choice: RoundChoice) -> ExperimentPlan:
    """The comparison that a second round is: the written prompt, the round, and its control, on the data of the first.

    Raises:
        UserError: nothing is left to learn from, or a number is out of range.
    """
    _check(mistakes, choice)
    approach, first = run.approach, run.approach.experiment
    kind, model, prompt = kind_of(approach.method, approach.recipe), approach.backbone, approach.template_version
    if kind is None or model is None or prompt is None:
        raise UserError(f"{approach.name} was made in a way that is no longer offered, so it cannot be trained further.")
    options = _options(artifact, approach.recipe)
    left_out = mistakes.doubted | set(choice.left_out)
    rows = tuple(each.row for each in mistakes.found if each.row not in left_out)
    if not rows:
        raise UserError("There is no row left to show more often: it answers every train row right and clearly, or all were left out.")
    again = ApproachPlan(kind.key, model, prompt, options, start=artifact)

    def trained(how: str, times: int) -> ApproachPlan:
        focus = FocusPlan(run, rows, times, choice.odds, tuple(sorted(left_out)))
        return replace(again, name=f"{approach.name[:120]}, {how}", focus=focus)

    written = ApproachPlan("few_shot" if prompt.demonstrations else "zero_shot", model, prompt)
    control = [trained("trained further", 1)] if choice.has_control else []
    return ExperimentPlan(
        name=(choice.name or f"{approach.name}: second round")[:120],
        description=f"Goes on from {approach.name} of “{first.name}”, seed {run.seed}, with its mistakes in train rows shown more often.",
        dataset_version=first.dataset_version,
        approaches=(written, trained("trained on its mistakes", choice.times), *control),
        seeds=tuple(first.seeds) or (0,),
        price_book=first.price_book,
        too_long=first.too_long,
        truncate_column=first.truncate_column,
        monthly_requests=first.monthly_requests,
        margin=first.margin,
        generation=GenerationPlan.from_json(first.generation),
    )


def _options(artifact: Artifact, recipe: dict[str, OptionValue]) -> dict[str, OptionValue]:
    """The first round's dials; learned tokens are as many as it has left, whatever their number followed from."""
    learned = artifact.manifest.get("virtual_tokens")
    return {**recipe, **({"num_virtual_tokens": learned} if learned and "num_virtual_tokens" in recipe else {})}


def _check(mistakes: Mistakes, choice: RoundChoice) -> None:
    if not 2 <= choice.times <= MAX_TIMES:
        raise UserError(f"Rows can be shown 2 to {MAX_TIMES} times as often as the others; {choice.times} is out of that range.")
    if not 1 <= choice.odds <= MAX_ODDS:
        raise UserError(
            f"A close call is a right answer up to 1 to {MAX_ODDS:g} times as likely as the next; {choice.odds:g} is out of that range."
        )
    unknown = set(choice.left_out) - {each.row for each in mistakes.found}
    if unknown:
        raise UserError(f"{counted(len(unknown), 'row')} to be left out are not among the mistakes. Name rows of the list only.")
