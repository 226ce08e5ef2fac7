"""Searches for a better prompt with DSPy's optimisers: GEPA and MIPROv2 change its instruction and its examples, our own scoring judges.

The only module that knows DSPy, an optional extra. DSPy gets a program of one step whose every answer is one prompt on one row, asked
and counted on our bench; its language model is ours too. Its cache and its saved states are not used: they are pickled.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

# A library of its own would look for a newer list of prices on the network; its bars would fill the log.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("TQDM_DISABLE", "1")

import dspy
from dspy.lm15 import Message, Response, TextPart, Usage
from dspy.teleprompt.gepa.instruction_proposal import InstructionProposer
from dspy.utils.exceptions import AdapterParseError

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadData, Unsupported
from workers.engine.search.candidate import Candidate
from workers.engine.search.optimising import Model, Tally
from workers.engine.search.optimising_bench import ANSWER, Bench, Over

_MOST_WRITTEN = 1024
_MOST_BOOTSTRAPPED_FROM = 24
_MOST_SHOWN = 4
_LOOKS_IN_BUDGET = 8
_FEWEST_ROWS = 8
_ROWS_A_REFLECTION = 4
_MOST_UNREAD = 5
_UNREADABLE = "What the model wrote held no instruction that DSPy could read. Choose a model that follows instructions better."


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
        return self._forward_postprocess([{ANSWER: said.text}], self.signature, **inputs)


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
    except Over as over:
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
                raise Over(Unsupported(_UNREADABLE)) from None
            return {name: candidate[name] for name in components_to_update}
        bench.texts_read += 1
        return proposed

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        said = bench.score_of(gold, pred)
        told = "Right." if said >= 1 else f"The answer was {str(pred[ANSWER])!r}; the right one is {str(gold[ANSWER])!r}."
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
        {name: dspy.InputField(desc=column) for column, name in bench.columns.items()} | {ANSWER: dspy.OutputField(desc="the answer")},
        bench.instruction,
    )
    program = _Program(_Answer(signature, bench))
    rows = [_example_of(bench, item) for item in trainset]
    with dspy.context(lm=_language_model(bench, 0.0), disable_history=True):
        optimiser.compile(program, trainset=rows, valset=[_example_of(bench, item) for item in bench.validation], **plan)


def _example_of(bench: Bench, item: Item) -> Any:
    """A row as DSPy's programs take it."""
    fields = {name: item.fields[column] for column, name in bench.columns.items()}
    return dspy.Example(**fields, **{ANSWER: item.label}).with_inputs(*fields)


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


def _text_of(parts: Any) -> str:
    """The text of a message's parts; other kinds never occur, since rows are text."""
    if isinstance(parts, str):
        return parts
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))
