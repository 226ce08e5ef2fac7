"""What the pages say about a second round: before it, its rows and its size; afterwards, what it went on from. Reads only."""

from dataclasses import dataclass

from experiments.errors import UserError
from experiments.models import Artifact, Experiment, Focus, Job, Run, Split, User
from experiments.planning.mistakes import Mistakes, ShownMistake, mistakes_of, train_evaluation
from experiments.planning.second_rounds import USUAL_TIMES, RoundChoice, round_plan
from experiments.reads.estimates import Estimate, plan_estimate
from experiments.wording import counted

CHOSEN_TWICE = (
    "No validation or test row was learned from, but the validation rows have now chosen twice: only test rows give a final figure."
)


@dataclass(frozen=True)
class RoundPreview:
    """A second round before it is launched.

    Args:
        can_ask: whether the run has left a tuned prompt to find mistakes of.
        job: what finds the mistakes; None when nobody has asked.
        mistakes: None until they are found.
        problem: why no round can be launched, in a sentence.
        seconds: what finding the mistakes takes, as the validation rows took; None when unknown.
    """

    can_ask: bool
    num_train: int
    odds: float
    job: Job | None = None
    mistakes: Mistakes | None = None
    shown: tuple[ShownMistake, ...] = ()
    estimate: Estimate | None = None
    problem: str = ""
    seconds: float | None = None

    @property
    def share_seen(self) -> float:
        """The part of a pass over the train rows that the mistakes make up when they are shown as often as usual."""
        return self.mistakes.share_seen(USUAL_TIMES) if self.mistakes else 0.0


def round_preview(run: Run, odds: float, viewer: User) -> RoundPreview:
    """Where the second round of a run stands, with the marks of the person who looks apart from those of others."""
    artifact = Artifact.objects.filter(run=run).select_related("run__approach__experiment", "run__approach__backbone").first()
    num_train = run.approach.experiment.dataset_version.split_counts.get(Split.TRAIN, 0)
    evaluation = train_evaluation(run)
    if artifact is None or evaluation is None or evaluation.completed_at is None:
        job = evaluation.job if evaluation else None
        return RoundPreview(artifact is not None, num_train, odds, job=job, seconds=_seconds(run, num_train))
    mistakes = mistakes_of(evaluation, odds)
    estimate, problem = None, ""
    try:
        estimate = plan_estimate(round_plan(artifact.run, artifact, mistakes, RoundChoice(odds=odds)))
    except UserError as error:
        problem = str(error)
    return RoundPreview(True, num_train, odds, evaluation.job, mistakes, tuple(mistakes.shown(viewer)), estimate, problem)


def _seconds(run: Run, num_rows: int) -> float | None:
    done = run.evaluations.filter(split=Split.VALIDATION, completed_at__isnull=False).first()
    speed = done.summary.get("rows_per_second") if done else None
    return num_rows / speed if speed else None


def focus_of(run: Run) -> Focus | None:
    """What a run's approach saw more often; None for all others."""
    return Focus.objects.filter(approach=run.approach_id).select_related("run__approach__experiment").first()


def focus_sentences(experiment: Experiment) -> list[str]:
    """What was done in a second round, a sentence each; empty for every other comparison."""
    focuses = list(Focus.objects.filter(approach__experiment=experiment).select_related("approach", "run__approach__experiment"))
    if not focuses:
        return []
    sentences = [_said(focus) for focus in focuses]
    left_out = max(len(focus.left_out) for focus in focuses)
    if left_out:
        sentences.append(f"{counted(left_out, 'train row')} whose label a person called wrong taught none of them.")
    return [*sentences, CHOSEN_TWICE]


def _said(focus: Focus) -> str:
    source = (
        f"{focus.run.approach.name} of “{focus.run.approach.experiment.name}”, seed {focus.run.seed}" if focus.run else "a tuned prompt"
    )
    if focus.times == 1:
        return f"{focus.approach.name}: goes on from {source} with all rows shown equally often."
    rows, verb = counted(len(focus.rows), "train row"), "is" if len(focus.rows) == 1 else "are"
    shown = f"{rows} that it got wrong or right by little {verb} shown {focus.times} times as often"
    return f"{focus.approach.name}: goes on from {source}; {shown}."
