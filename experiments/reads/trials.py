"""What a search tried, for pages and the API: the best first, what could not be tried last. Reads only."""

from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet

from experiments.models import Approach, Run, TemplateVersion, Trial

SHOWN = 10


@dataclass(frozen=True)
class SearchView:
    """A search as its run's page shows it.

    Args:
        trials: the best ones so far.
        num_trials: how many there are in all.
        record: the engine's record; empty until the search has ended.
        version: the prompt version that the winner became, if it became one.
    """

    trials: tuple[Trial, ...]
    num_trials: int
    record: dict[str, Any]
    version: TemplateVersion | None

    @property
    def sentence(self) -> str:
        """What came of it; empty until it has ended."""
        if not self.record:
            return ""
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
    """The search of a run; None when the run is no search."""
    if run.approach.method not in ("prompt_search", "dspy_search"):
        return None
    trials = trials_of(run)
    record = (run.result.get("written") or {}).get("search") or {}
    version = run.optimised_versions.select_related("template").first()
    return SearchView(tuple(trials.defer("config")[:SHOWN]), trials.count(), record, version)


def version_answering(approach: Approach, run: Run) -> TemplateVersion | None:
    """The prompt version that a run's answers come from: the one that its search found, else the approach's own."""
    found = run.optimised_versions.all()
    return found[0] if found else approach.template_version
