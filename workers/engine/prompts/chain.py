"""A written prompt of two steps: the model writes a short text about a row, then answers with that text in a slot of the second prompt.

Each step is a prompt like any other; this module hands the first one's text to the second and adds up what both took. It knows no
model, so that an endpoint's two calls are put together by it as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from workers.engine.contract.outcome import Prediction
from workers.engine.contract.spec import Item, Recipe, RunSpec
from workers.engine.contract.template_spec import STEP, Demonstration, TemplateSpec
from workers.engine.errors import BadData

_ADDED_UP = ("prompt_tokens", "fixed_tokens", "row_tokens", "completion_tokens", "computed_tokens", "seconds")


OnRows = Callable[[int], None]


class Step(Protocol):
    """A prompt that answers rows: an approach as far as this module is concerned."""

    @property
    def frame(self) -> Any: ...
    def predict(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]: ...
    def answerable(self, items: Sequence[Item]) -> list[Item]: ...
    def warm(self) -> Callable[[Item], object]: ...
    def facts(self) -> dict[str, Any]: ...
    def release(self) -> None: ...


@dataclass
class Chained:
    """Two prompts on one backbone, the second of which reads what the first one wrote."""

    first: Step
    second: Step
    lengths: list[int] = field(default_factory=list)
    num_cut: int = 0

    def predict(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        """An answer for every row, in order; a row that the first step cannot read has no second one."""
        if self.second.frame.spec.too_long == "refuse":
            self.second.frame.encode([with_text(item, "") for item in items])  # before anything is written for rows that never fit
        wrote = self.first.predict(items, lambda done: on_rows(done // 2))
        self.lengths += [said.completion_tokens for said in wrote if said.error is None]
        self.num_cut += sum(said.was_cut for said in wrote)
        ready = [with_text(item, said.text) for item, said in zip(items, wrote, strict=True) if said.error is None]
        answers = iter(self.second.predict(ready, lambda done: on_rows((len(items) + done) // 2)) if ready else ())
        return [said if said.error else joined(said, next(answers)) for said in wrote]

    def answerable(self, items: Sequence[Item]) -> list[Item]:
        """The rows that fit into both prompts, the second one's still without the text of the first."""
        fitting = {item.id for item in self.second.answerable([with_text(item, "") for item in self.first.answerable(items)])}
        return [item for item in items if item.id in fitting]

    def warm(self) -> Callable[[Item], object]:
        """One request at a time, both steps of it."""
        write, answer = self.first.warm(), self.second.warm()
        return lambda item: answer(with_text(item, str(write(item))))

    def save(self, folder: Any) -> None:
        """Nothing is learned, so nothing is kept."""
        del folder

    def facts(self) -> dict[str, Any]:
        """Those of the answer, with the first step's frame and how long its texts were."""
        first, second = self.first.facts(), self.second.facts()
        wrote = {
            "rows": len(self.lengths),
            "mean_tokens": sum(self.lengths) / len(self.lengths) if self.lengths else None,
            "at_limit": self.num_cut,
        }
        plain = first["shared_prefix"] if first["shared_prefix"] != "shared" else second["shared_prefix"]
        return {
            **second,
            "frame": {**second["frame"], "first_step": first["frame"]},
            "shared_prefix": plain,
            "written": {"first_step": wrote},
        }

    def release(self) -> None:
        """Give the backbone back as it was."""
        self.second.release()


def writing_spec(spec: RunSpec) -> RunSpec:
    """The first step as a run of its own: free text by its own rules."""
    first = spec.template.first_step
    assert first is not None, "only a prompt of two steps has a first one"
    template = TemplateSpec(first.user, use_chat_template=spec.template.use_chat_template)
    free = replace(_cut_where_shown(spec, template), recipe=Recipe(), task="extraction", labels=(), answer_words={})
    return replace(free, generation=first.writing)


def answering_spec(spec: RunSpec, texts: Sequence[str]) -> RunSpec:
    """The second step as a run of its own.

    Args:
        texts: what the first step wrote about each row that the prompt shows.
    """
    shown = [replace(each, fields={**each.fields, STEP: text}) for each, text in zip(spec.template.demonstrations, texts, strict=True)]
    return _cut_where_shown(spec, replace(spec.template, first_step=None, demonstrations=tuple(shown)))


def first_texts(first: Step, shown: Sequence[Demonstration]) -> list[str]:
    """What the first step writes about the rows that the prompt shows: the model must read them as it reads its own row.

    Raises:
        BadData: one of them is too long for it.
    """
    items = [Item(f"example {place}", each.fields, each.label) for place, each in enumerate(shown, 1)]
    wrote = first.predict(items, lambda done: None) if items else []
    for said in wrote:
        if said.error:
            raise BadData(f"An example in the prompt cannot be read by its first step. {said.error}")
    return [said.text for said in wrote]


def with_text(item: Item, text: str) -> Item:
    """The row with what the first step wrote about it, as one more column."""
    return replace(item, fields={**item.fields, STEP: text})


def joined(first: Prediction, second: Prediction) -> Prediction:
    """The answer, with the tokens and the time of both steps."""
    sums = {name: getattr(first, name) + getattr(second, name) for name in _ADDED_UP}
    return replace(second, **sums, first_text=first.text, first_prompt=first.prompt)


def _cut_where_shown(spec: RunSpec, template: TemplateSpec) -> RunSpec:
    """The spec with the prompt of one step. A step that does not show the column that is cut has nothing to cut."""
    if spec.too_long == "truncate" and spec.truncate_column not in template.slots():
        return replace(spec, template=template, too_long="refuse", truncate_column="")
    return replace(spec, template=template)
