"""What a run tried, for pages and the API: the best first, what could not be tried last. Reads only."""

from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet

from experiments.catalogue.configurations import num_configurations
from experiments.models import Approach, Run, TemplateVersion, Trial
from experiments.reads.charts import Chart
from experiments.reads.spending import tried_chart

SHOWN = 10


@dataclass(frozen=True)
class SearchView:
    """A search or a sweep as its run's page shows it.

    Args:
        trials: the best ones so far.
        num_trials: how many there are in all.
        record: the engine's record; empty until the search has ended.
        version: the prompt version that the winner became, or was already, if there is one.
        is_sweep: settings of a training were tried, not prompts.
    """

    trials: tuple[Trial, ...]
    num_trials: int
    record: dict[str, Any]
    version: TemplateVersion | None
    is_sweep: bool = False

    @property
    def noun(self) -> str:
        return "configuration" if self.is_sweep else "prompt"

    @property
    def is_unkept(self) -> bool:
        """Whether a prompt was found that no version has."""
        return bool(self.record.get("winner")) and not self.is_sweep and self.version is None

    @property
    def chart(self) -> Chart | None:
        """Score against device seconds of each configuration of a sweep; prompts answer different numbers of rows."""
        return tried_chart(self.trials) if self.is_sweep else None

    @property
    def sentence(self) -> str:
        """What came of it; empty until it has ended."""
        if not self.record:
            return ""
        if self.is_sweep:
            return _sweep_sentence(self.record)
        rows, winner, written = (self.record.get(key) for key in ("validation_rows", "winner_correct", "written_correct"))
        if not self.record.get("winner"):
            return f"Nothing beat the prompt as it was written, on {rows:,} validation rows."
        if winner is None or written is None:
            return f"The best prompt fits the answers of {rows:,} validation rows better than the one it started from."
        if winner == written:
            return f"The best prompt answers as many of {rows:,} validation rows rightly as the one it started from, and is surer of them."
        return f"The best prompt answers {winner:,} of {rows:,} validation rows rightly; the prompt it started from {written:,}."


def trials_of(run: Run) -> "QuerySet[Trial]":
    """Trials in the order of how well they did: furthest, most right, least loss; those that could not be tried come last."""
    order = [F("problem").asc(), F("is_winner").desc(), F("rung").desc(), F("accuracy").desc(nulls_last=True)]
    return Trial.objects.filter(run=run).order_by(*order, F("loss").asc(nulls_last=True), "number")


def search_view(run: Run) -> SearchView | None:
    """The search or sweep of a run; None when the run tries nothing but what was set."""
    if run.approach.method not in ("prompt_search", "dspy_search") and num_configurations(run.approach.recipe) == 1:
        return None
    trials = trials_of(run)
    sweep = is_sweep(run)
    record = run.result.get("sweep") if sweep else (run.result.get("written") or {}).get("search")
    return SearchView(tuple(trials.defer("config")[:SHOWN]), trials.count(), record or {}, _version_found(run), sweep)


def is_sweep(run: Run) -> bool:
    """Whether what a run tries are settings of a training, not prompts."""
    return "max_steps" in run.approach.recipe


def _sweep_sentence(record: dict[str, Any]) -> str:
    """What a sweep has kept, and what it gained over the settings that were given."""
    kept, accuracy, before = record["winner_name"], record.get("winner_accuracy"), record.get("set_accuracy")
    rows = record["validation_rows"]
    if not record["winner"]:
        return f"Of {record['configurations']} configurations none did better on {rows:,} validation rows than the one that was set."
    if accuracy is None or before is None:
        return f"Of {record['configurations']} configurations {kept} fits the answers of {rows:,} validation rows best."
    return (
        f"Of {record['configurations']} configurations {kept} does best: {accuracy:.1%} of {rows:,} validation rows right; "
        f"the one that was set reached {before:.1%} in the rounds that it took part in."
    )


def version_answering(approach: Approach, run: Run) -> TemplateVersion | None:
    """The prompt version that a run's answers come from: the one that its search found, else the approach's own."""
    return _version_found(run) or approach.template_version


def _version_found(run: Run) -> TemplateVersion | None:
    """The version that a search made of its winner, or that had these words before: another search's, or a person's."""
    if made := list(run.optimised_versions.all()):
        return made[0]
    known = ((run.result.get("written") or {}).get("search") or {}).get("version")
    return TemplateVersion.objects.select_related("template").filter(pk=known).first() if known else None
