"""Searches for a better prompt with DSPy's optimisers: GEPA and MIPROv2 change its instruction and its examples, our own scoring judges.

The only module that knows DSPy, an optional extra. DSPy gets a program of one step whose every answer is one prompt on one row, asked
and counted here; its language model is ours too. Its cache and its saved states are not used: they are pickled.
"""

import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

# A library of its own would look for a newer list of prices on the network; its bars would fill the log.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("TQDM_DISABLE", "1")

import dspy
from dspy.lm15 import Message, Response, TextPart, Usage
from dspy.teleprompt.gepa.instruction_proposal import InstructionProposer
from dspy.utils.exceptions import AdapterParseError

from workers.engine.candidate import Candidate
from workers.engine.errors import BadData, BadSpec, Unsupported
from workers.engine.optimising import Model, Said, Tally
from workers.engine.spec import Item, RunSpec
from workers.engine.template_spec import Demonstration, TemplateSpec, slot_names

_ANSWER = "answer"
_MOST_WRITTEN = 1024
_MOST_BOOTSTRAPPED_FROM = 24
_MOST_SHOWN = 4
_LOOKS_IN_BUDGET = 8
_FEWEST_ROWS = 8
_ROWS_A_REFLECTION = 4
_TOLD_EVERY = 8
_MOST_UNREAD = 5
_UNREADABLE = "What the model wrote held no instruction that DSPy could read. Choose a model that follows instructions better."


class _Over(BaseException):
    """Leaves DSPy, which catches every ordinary exception and goes on. `cause`: None where the budget is spent."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        self.cause = cause


@dataclass
class Bench:
    """Where DSPy's prompts are tried: knows the rows, keeps the tally of every prompt, and stops when the budget is spent.

    Args:
        spec: the written prompt, its labels, the method's options.
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
        self.rows = {self._key(item.fields): item for item in (*self.train, *self.validation)}
        self.validation_keys = {self._key(item.fields) for item in self.validation}
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
                raise _Over(None)
            self.spent += 1
            kept[item.id] = self._guarded(lambda: self.model.answer(tally.candidate.template, item))
            self.scores[key, kept[item.id].text] = kept[item.id].score
            self._tell(tally)
        return kept[item.id]

    def score_of(self, gold: Any, pred: Any) -> float:
        """How good an answer is that was given here, 0 to 1."""
        return self.scores[tuple(str(gold[name]) for name in self.columns.values()), str(pred[_ANSWER])]

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

    def example_of(self, item: Item) -> Any:
        """A row as DSPy's programs take it."""
        fields = {name: item.fields[column] for column, name in self.columns.items()}
        return dspy.Example(**fields, **{_ANSWER: item.label}).with_inputs(*fields)

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
            raise _Over(error) from error

    def _key(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(fields[column] for column in self.columns)

    def _demonstration(self, demo: Any) -> Demonstration:
        fields = {column: str(demo[name]) for column, name in self.columns.items()}
        item = self.rows.get(self._key(fields))
        return Demonstration(fields, item.label if item else str(demo[_ANSWER]), item.id if item else "")


class _Engine:
    """DSPy's language model: every request becomes one text of ours."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def complete(self, request: Any) -> Any:
        """dspy.lm15's contract for engines: Request in, Response out."""
        messages = [{"role": "system", "content": _text_of(request.system)}] if request.system else []
        messages += [{"role": str(each.role), "content": _text_of(each.parts)} for each in request.messages]
        config = request.config
        text = self.bench.write(messages, min(config.max_tokens or _MOST_WRITTEN, _MOST_WRITTEN), config.temperature or 0.0)
        return Response(id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=Usage())


class _Answer(dspy.Predict):  # type: ignore[misc]
    """DSPy's predictor whose prompt is ours: its instruction and examples go into the written prompt, the answer comes from the bench."""

    def __init__(self, signature: Any, bench: Bench) -> None:
        super().__init__(signature)
        self.bench = bench

    def forward(self, **inputs: Any) -> Any:
        said = self.bench.ask(self.signature.instructions, inputs.pop("demos", self.demos), inputs)
        return self._forward_postprocess([{_ANSWER: said.text}], self.signature, **inputs)


class _Program(dspy.Module):  # type: ignore[misc]
    """The whole program: one answer."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__()
        self.respond = answer

    def forward(self, **inputs: Any) -> Any:
        return self.respond(**inputs)


@dataclass(frozen=True)
class Optimised:
    """The end of a search."""

    winner: Candidate
    facts: dict[str, Any]
    seconds: float
    rows: int
    warnings: tuple[str, ...] = ()


def optimise(bench: Bench) -> Optimised:
    """Let DSPy look for a better prompt until its plan or the budget ends.

    Raises:
        EngineError: the model or the run stopped it, or there are too few rows.
    """
    seed = int(bench.spec.recipe.options["draw_seed"])  # type: ignore[arg-type]
    written = bench.tally_of(bench.instruction, ())
    try:
        for item in bench.validation:  # what is written is measured first: the winner is never worse on these rows
            bench.ask(bench.instruction, (), {name: item.fields[column] for column, name in bench.columns.items()})
        _OPTIMISERS[str(bench.spec.recipe.options["optimizer"])](bench, seed)
    except _Over as over:
        if over.cause is not None:
            bench.tell_all()
            raise over.cause from None
    except AdapterParseError as error:
        bench.tell_all()
        raise Unsupported(_UNREADABLE) from error
    bench.tell_all()
    return _ended(bench, written)


def found_on(
    spec: RunSpec,
    model: Model,
    train: Sequence[Item],
    validation: Sequence[Item],
    told: Callable[[dict[str, Any]], None],
    on_progress: Callable[[int, float | None], None],
) -> Optimised:
    """The best prompt that a search of these rows finds; the written one where nothing beats it.

    Raises:
        EngineError: the prompt gives DSPy nothing to improve, or the model or the run stopped it.
    """
    budget, seed = int(spec.recipe.options["budget"]), int(spec.recipe.options["draw_seed"])  # type: ignore[arg-type]
    learned = list(train)
    random.Random(seed).shuffle(learned)  # noqa: S311 - nothing secret is drawn
    return optimise(Bench(spec, model, learned, rows_to_try(validation, budget, seed), told, on_progress))


def rows_to_try(rows: Sequence[Item], budget: int, seed: int) -> list[Item]:
    """The validation rows of a search: a seeded draw that leaves the budget room for several prompts.

    Raises:
        BadData: there are too few.
    """
    drawn = list(rows)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - nothing secret is drawn
    most = max(_FEWEST_ROWS, budget // _LOOKS_IN_BUDGET)
    if not drawn:
        raise BadData("A search chooses on validation rows, and there are none.")
    return drawn[:most]


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


def _run_gepa(bench: Bench, seed: int) -> None:
    builtin = InstructionProposer()

    def propose(candidate: dict[str, str], reflective_dataset: dict[str, Any], components_to_update: list[str]) -> dict[str, str]:
        try:
            proposed: dict[str, str] = builtin(
                candidate=candidate, reflective_dataset=reflective_dataset, components_to_update=components_to_update
            )
        except (AdapterParseError, ValueError):  # the model wrote something that holds no instruction
            bench.texts_unread += 1
            if not bench.texts_read and bench.texts_unread >= _MOST_UNREAD:
                raise _Over(Unsupported(_UNREADABLE)) from None
            return {name: candidate[name] for name in components_to_update}
        bench.texts_read += 1
        return proposed

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        said = bench.score_of(gold, pred)
        told = "Right." if said >= 1 else f"The answer was {str(pred[_ANSWER])!r}; the right one is {str(gold[_ANSWER])!r}."
        return dspy.Prediction(score=said, feedback=told)

    # GEPA counts rows that it asks again, and finishes the round that it is in: the bench's own count is the budget.
    optimiser = dspy.GEPA(
        metric=metric,
        max_metric_calls=bench.budget,
        reflection_lm=_language_model(bench, 1.0),
        instruction_proposer=propose,
        reflection_minibatch_size=min(_ROWS_A_REFLECTION, len(bench.train)),
        use_merge=False,
        num_threads=1,
        seed=seed,
    )
    _compile(bench, optimiser, trainset=bench.train)


def _run_mipro(bench: Bench, seed: int) -> None:
    num_examples = min(int(bench.spec.recipe.options["num_examples"]), _MOST_SHOWN)  # type: ignore[arg-type]
    shown_from = bench.train[:_MOST_BOOTSTRAPPED_FROM]
    left = bench.budget - bench.spent - len(shown_from)
    trials = max(2, left // len(bench.validation))
    model = _language_model(bench, 1.0)
    optimiser = dspy.MIPROv2(
        metric=lambda gold, pred, trace=None: bench.score_of(gold, pred),
        prompt_model=model,
        task_model=model,
        auto=None,
        num_candidates=max(3, min(12, trials)),
        max_bootstrapped_demos=num_examples,
        max_labeled_demos=0,
        num_threads=1,
        max_errors=1,
        seed=seed,
        track_stats=False,
    )
    plan = {"num_trials": trials, "minibatch": False, "program_aware_proposer": False, "provide_traceback": False}
    _compile(bench, optimiser, trainset=shown_from, **plan)


_OPTIMISERS: dict[str, Callable[[Bench, int], None]] = {"gepa": _run_gepa, "miprov2": _run_mipro}


def _compile(bench: Bench, optimiser: Any, *, trainset: Sequence[Item], **plan: Any) -> None:
    """Run an optimiser on the bench; what it would pick is not asked for, the tally decides."""
    signature = dspy.Signature(
        {name: dspy.InputField(desc=column) for column, name in bench.columns.items()} | {_ANSWER: dspy.OutputField(desc="the answer")},
        bench.instruction,
    )
    program = _Program(_Answer(signature, bench))
    rows = [bench.example_of(item) for item in trainset]
    with dspy.context(lm=_language_model(bench, 0.0), disable_history=True):
        optimiser.compile(program, trainset=rows, valset=[bench.example_of(item) for item in bench.validation], **plan)


def _language_model(bench: Bench, temperature: float) -> Any:
    return dspy.LM("promptlab", engine=_Engine(bench), cache=False, num_retries=0, temperature=temperature, max_tokens=_MOST_WRITTEN)


def _ended(bench: Bench, written: Tally) -> Optimised:
    best = bench.winner()
    options = bench.spec.recipe.options
    seconds = bench.write_seconds + sum(tally.look()["seconds"] for tally in bench.tallies.values())
    facts = {
        "budget": bench.budget,
        "spent": bench.spent,
        "num_candidates": len(bench.tallies),
        "num_refused": 0,
        "rungs": [],
        "optimizer": {"name": options["optimizer"], "dspy": metadata.version("dspy")},
        "validation_rows": len(bench.validation),
        "seconds": seconds,
        "winner": best.candidate.number,
        "winner_name": best.candidate.name,
        "wording": best.candidate.wording(),
        "winner_correct": best.look()["correct"],
        "winner_loss": best.look()["loss"],
        "written_correct": written.look()["correct"],
        "written_loss": written.look()["loss"],
    }
    unread = f"{bench.texts_unread:,} of the model's texts held no instruction that DSPy could read." if bench.texts_unread else ""
    return Optimised(best.candidate, facts, seconds, len(bench.validation), (unread,) if unread else ())


def _name_of(instruction: str, written: str, template: TemplateSpec) -> str:
    shown = len(template.demonstrations)
    words = "as written" if instruction.strip() == written else f"“{' '.join(instruction.split())[:80]}”"
    return words + (f", {shown} examples" if shown else "")


def _field_names(spec: RunSpec) -> list[str]:
    """A name that Python allows for each column, in the order of their names; no two alike, none that DSPy needs itself."""
    names: list[str] = []
    for column in sorted(spec.template.slots()):
        plain = re.sub(r"\W+", "_", column).strip("_").lower() or "column"
        name = plain if plain.isidentifier() and plain not in (_ANSWER, "demos", "config", "lm", "signature") else f"column_{plain}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _text_of(parts: Any) -> str:
    """The text of a message's parts; other kinds never occur, since rows are text."""
    if isinstance(parts, str):
        return parts
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))
