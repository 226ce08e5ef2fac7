"""Whether the answer words and examples of a prompt fit a data version, a sentence for each thing that does not. Writes nothing."""

from collections.abc import Iterator

from experiments.models import DatasetVersion, Example, Split, TemplateVersion
from experiments.models.datasets import Task
from experiments.wording import counted, listed, quoted


def answer_problems(template: TemplateVersion, version: DatasetVersion) -> Iterator[str]:
    """What is wrong with the words that stand for the labels."""
    if version.task != Task.CLASSIFICATION:
        return
    unknown = [label for label in template.answer_words if label not in version.labels]
    if unknown:
        yield f"Prompt {quoted(str(template))} has answer words for {listed(map(quoted, unknown))}, which are not in the data. Remove them."
    owner: dict[str, str] = {}
    for label in version.labels:
        for word in template.answer_words.get(label) or [label]:
            other = owner.setdefault(word, label)
            if other != label:
                yield (
                    f"Prompt {quoted(str(template))} lets {quoted(word)} stand for both {quoted(other)} and {quoted(label)}. "
                    "Give each label words of its own."
                )


def demonstration_problems(template: TemplateVersion, version: DatasetVersion) -> Iterator[str]:
    """What is wrong with the rows that are shown as examples."""
    shown = [demonstration.get("label") for demonstration in template.demonstrations]
    unknown = [str(label) for label in dict.fromkeys(shown) if version.labels and label not in version.labels]
    if unknown:
        yield f"Prompt {quoted(str(template))} shows examples of {listed(map(quoted, unknown))}, which are not in the data. Remove them."
    ids = [demonstration["example"] for demonstration in template.demonstrations if demonstration.get("example")]
    leaks = Example.objects.filter(pk__in=ids, version=version).exclude(split=Split.TRAIN).count() if ids else 0
    if leaks:
        yield f"Prompt {quoted(str(template))} shows {counted(leaks, 'row')} of the validation or test split as examples. Take train rows."
