"""Where the prompts of a search by DSPy are tried: one prompt on one row, counted, until the budget is spent.

Knows no DSPy: what DSPy hands over is read by the names of its fields. Standard library only, as `optimising` is.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.contract.template_spec import Demonstration, TemplateSpec, slot_names
from workers.engine.errors import BadData, BadSpec
from workers.engine.search.candidate import Candidate
from workers.engine.search.optimising import Model, Said, Tally

# The field of DSPy's program that holds the answer.
ANSWER = "answer"
_TOLD_EVERY = 8


class Over(BaseException):
    """Leaves DSPy, which catches every ordinary exception and goes on. `cause`: None where the budget is spent."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        self.cause = cause


@dataclass
class Bench:
    """Where DSPy's prompts are tried: knows the rows, keeps the tally of every prompt, and stops when the budget is spent.

    Args:
        spec: the written prompt, its labels, the method's options.
        train, validation: rows; those that read alike in this prompt are kept once, and none of validation in train.
        told: hears of every look, as a line of the journal.
        on_progress: called with the evaluations spent and the best share of right answers so far; may raise to stop.
    """

    spec: RunSpec
    model: Model
    train: Sequence[Item]
    validation: Sequence[Item]
    told: Callable[[dict[str, Any]], None]
    on_progress: Callable[[int, float | None], None]
    spent: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    scores: dict[tuple[tuple[str, ...], str], float] = field(default_factory=dict)
    texts_read: int = 0
    texts_unread: int = 0
    write_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.instruction, self.rest = split_instruction(self.spec.template)
        self.columns = {column: name for name, column in zip(_field_names(self.spec), sorted(self.spec.template.slots()), strict=True)}
        # DSPy names a row by what it reads, so rows that read alike are one; what judges must not stand among the examples.
        judging = self._once(self.validation)
        learning = {key: item for key, item in self._once(self.train).items() if key not in judging}
        if not learning:
            raise BadData("Every train row reads the same as a validation row, so the search has nothing to learn from. Add train rows.")
        self.rows = {**learning, **judging}
        self.validation_keys = set(judging)
        self.train, self.validation = tuple(learning.values()), tuple(judging.values())
        self.tally_of(self.instruction, ())

    def __deepcopy__(self, memo: Any) -> "Bench":
        """DSPy copies its programs; all of them are tried here."""
        return self

    @property
    def budget(self) -> int:
        return int(self.spec.recipe.options["budget"])  # type: ignore[arg-type]

    def ask(self, instruction: str, demos: Sequence[Any], inputs: Mapping[str, str]) -> Said:
        """One prompt on one row; the same again costs nothing."""
        tally = self.tally_of(instruction, demos)
        key = tuple(inputs[name] for name in self.columns.values())
        kept = tally.validation if key in self.validation_keys else tally.train
        item = self.rows[key]
        if item.id not in kept:
            if self.spent >= self.budget:
                raise Over(None)
            self.spent += 1
            kept[item.id] = self._guarded(lambda: self.model.answer(tally.candidate.template, item))
            self.scores[key, kept[item.id].text] = kept[item.id].score
            self._tell(tally)
        return kept[item.id]

    def score_of(self, gold: Any, pred: Any) -> float:
        """How good an answer is that was given here, 0 to 1."""
        return self.scores[tuple(str(gold[name]) for name in self.columns.values()), str(pred[ANSWER])]

    def write(self, messages: Sequence[Mapping[str, str]], most_tokens: int, temperature: float) -> str:
        """Free text by the model, for DSPy."""
        started = time.perf_counter()
        text = self._guarded(lambda: self.model.write(messages, most_tokens, temperature))
        self.write_seconds += time.perf_counter() - started
        return str(text)

    def tally_of(self, instruction: str, demos: Sequence[Any]) -> Tally:
        """The prompt that an instruction and examples make, with its tally; a new one gets the next number."""
        template = self.template_of(instruction, demos)
        words = {label: self.spec.words_of(label) for label in self.spec.labels}
        candidate = Candidate(len(self.tallies), _name_of(instruction, self.instruction, template), template, words)
        return self.tallies.setdefault(candidate.sha256, Tally(candidate))

    def template_of(self, instruction: str, demos: Sequence[Any]) -> TemplateSpec:
        """The words: as they were written where nothing was changed, else the instruction as system text in front of the row."""
        base = self.spec.template
        shown = tuple(self._demonstration(demo) for demo in demos)
        if instruction.strip() == self.instruction and not shown:
            return base
        return replace(base, system=instruction.strip(), user=self.rest, demonstrations=shown or base.demonstrations)

    def winner(self) -> Tally:
        """The best of the prompts that answered all validation rows."""
        return min((tally for tally in self.tallies.values() if len(tally.validation) == len(self.validation)), key=lambda each: each.rank)

    def tell_all(self) -> None:
        """Write down what was not told yet."""
        for tally in self.tallies.values():
            if tally.told < tally.seen:
                tally.told = tally.seen
                self.told(tally.look())

    def _tell(self, tally: Tally) -> None:
        if tally.seen - tally.told >= _TOLD_EVERY:
            tally.told = tally.seen
            self.told(tally.look())
        full = [each for each in self.tallies.values() if len(each.validation) == len(self.validation)]
        best = max((each.look()["correct"] / len(self.validation) for each in full), default=None)
        self._guarded(lambda: self.on_progress(self.spent, best))

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """A step of ours inside DSPy: whatever it raises must reach the run, not DSPy's own handling."""
        try:
            return step()
        except Exception as error:
            raise Over(error) from error

    def _once(self, items: Sequence[Item]) -> dict[tuple[str, ...], Item]:
        """The first of all rows that read alike, in order."""
        found: dict[tuple[str, ...], Item] = {}
        for item in items:
            found.setdefault(self._key(item.fields), item)
        return found

    def _key(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(fields[column] for column in self.columns)

    def _demonstration(self, demo: Any) -> Demonstration:
        fields = {column: str(demo[name]) for column, name in self.columns.items()}
        item = self.rows.get(self._key(fields))
        return Demonstration(fields, item.label if item else str(demo[ANSWER]), item.id if item else "")


def split_instruction(template: TemplateSpec) -> tuple[str, str]:
    """(instruction, rest): the words that do not depend on the row, and the lines that do.

    Raises:
        BadSpec: the prompt has no word of its own for DSPy to improve.
    """
    lines = template.user.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if slot_names(line))
    before = "".join(lines[:first])
    instruction = "\n\n".join(part.strip() for part in (template.system, before) if part.strip())
    if not instruction or slot_names(instruction):
        raise BadSpec(
            "DSPy improves the words in front of the row, and this prompt has none on lines of their own. "
            "Write what the model should do on a line before the first slot."
        )
    return instruction, "".join(lines[first:])


def _name_of(instruction: str, written: str, template: TemplateSpec) -> str:
    shown = len(template.demonstrations)
    words = "as written" if instruction.strip() == written else f"“{' '.join(instruction.split())[:80]}”"
    return words + (f", {shown} examples" if shown else "")


def _field_names(spec: RunSpec) -> list[str]:
    """A name that Python allows for each column, in the order of their names; no two alike, none that DSPy needs itself."""
    names: list[str] = []
    for column in sorted(spec.template.slots()):
        plain = re.sub(r"\W+", "_", column).strip("_").lower() or "column"
        name = plain if plain.isidentifier() and plain not in (ANSWER, "demos", "config", "lm", "signature") else f"column_{plain}"
        while name in names:
            name += "_"
        names.append(name)
    return names
