"""How fast each approach was in every pass over rows that was measured: what tells how much device time varies. Reads only; one query."""

from collections import defaultdict
from typing import Any

from experiments.models import Evaluation, Experiment


def measured_passes(experiment: Experiment) -> dict[str, list[float]]:
    """{evaluation: rows a second of each complete pass of its approach, any seed and split, on the same device}, slowest first."""
    complete = Evaluation.objects.filter(run__approach__experiment=experiment, attempt__isnull=False)
    told = complete.values_list("pk", "run__approach", "summary__device", "run__result__device_name", "summary__rows_per_second")
    by_device: dict[Any, list[float]] = defaultdict(list)
    places: dict[str, Any] = {}
    for pk, *where, speed in told:
        if speed:
            places[str(pk)] = tuple(where)
            by_device[tuple(where)].append(float(speed))
    return {pk: sorted(by_device[where]) for pk, where in places.items()}
