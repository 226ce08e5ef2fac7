"""Measures the starter backbone and prints the table of the model card.

    python -m workers.starter.evaluate --data DIR [--only clinc snips ...] [--results FILE]

--data holds the training data's folders (needed for CLINC150, SNIPS and perplexity); Banking77 and its queues are in
the repository. Finished parts are kept in the results file, so an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import baselines, scoring, tuning
from workers.starter import evaluation_tasks as tasks
from workers.starter.evaluation_tasks import Case

Measure = dict[str, Any]
SELECTION_ROWS = 300  # training rows on which the wording is chosen
SEEDS = (0, 1, 2)
SNIPS_ROWS = 1500
ORDER_ROWS = 500
TUNED_ROWS = 1000  # of the test split, the same for every tuned method and seed


@dataclass(frozen=True)
class Bench:
    """The model under test and where the data is."""

    folder: Path
    data: Path
    model: BertLMHeadModel
    tokenizer: PreTrainedTokenizerFast

    def choices(self, wording: str, cases: Sequence[Case], front: scoring.Front | None = None) -> list[str]:
        prompts = [tasks.prompt(wording, case) for case in cases]
        return scoring.choices(self.model, self.tokenizer, prompts, [case.options for case in cases], front=front)

    def best_wording(self, wordings: Sequence[str], cases: Sequence[Case]) -> str:
        """The wording with most hits on rows that are not reported."""
        return max(wordings, key=lambda wording: measure("", self.choices(wording, cases), cases)["hits"])


def load_bench(folder: Path, data: Path) -> Bench:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Bench(folder, data, model, AutoTokenizer.from_pretrained(folder))


def measure(name: str, said: Sequence[str], cases: Sequence[Case], **more: object) -> Measure:
    hits, rows = baselines.accuracy(said, [case.label for case in cases])
    return {"name": name, "hits": hits, "rows": rows, **more}


def _zero_shot(bench: Bench, name: str, wordings: Sequence[str], chosen_on: Sequence[Case], cases: Sequence[Case]) -> list[Measure]:
    wording = bench.best_wording(wordings, chosen_on)
    options, texts = [case.options for case in cases], [case.text for case in cases]
    labels = [case.label for case in chosen_on]
    said, overlap = bench.choices(wording, cases), baselines.word_overlap(texts, options)
    lead = baselines.lead(said, overlap, [case.label for case in cases])
    return [
        measure(f"{name}: zero-shot", said, cases, wording=wording, lead_over_overlap=lead),
        measure(f"{name}: majority", baselines.majority(labels, options), cases),
        measure(f"{name}: label-word overlap", overlap, cases),
    ]


def clinc(bench: Bench) -> list[Measure]:
    chosen_on = tasks.sample(tasks.clinc_cases(bench.data, "train"), SELECTION_ROWS, 0)
    cases = tasks.clinc_cases(bench.data, "test")
    return _zero_shot(bench, "CLINC150, 30 held-out intents, 10 options", tasks.REQUEST_WORDINGS, chosen_on, cases)


def snips(bench: Bench) -> list[Measure]:
    found: list[Measure] = []
    for readable in (False, True):
        rows = tasks.snips_cases(bench.data, SNIPS_ROWS + SELECTION_ROWS, seed=7, readable=readable)
        name = f"SNIPS, 7 intents, {'readable' if readable else 'own'} names"
        found += _zero_shot(bench, name, tasks.REQUEST_WORDINGS, rows[SNIPS_ROWS:], rows[:SNIPS_ROWS])
    return found


def _queue_wording(bench: Bench) -> str:
    return bench.best_wording(tasks.QUEUE_WORDINGS, tasks.sample(tasks.queue_cases("train"), SELECTION_ROWS, 0))


def queues(bench: Bench) -> list[Measure]:
    train, cases = tasks.queue_cases("train"), tasks.queue_cases("test")
    found = _zero_shot(bench, "Banking77, 12 queues", tasks.QUEUE_WORDINGS, tasks.sample(train, SELECTION_ROWS, 0), cases)
    bare = bench.choices(tasks.BARE_QUEUE_WORDING, cases)
    fitted = baselines.tfidf_regression([(c.text, c.label) for c in train], [c.text for c in cases])
    return [
        *found,
        measure("Banking77, 12 queues: zero-shot, bare prompt without options", bare, cases),
        measure("Banking77, 12 queues: TF-IDF + logistic regression, all train rows", fitted, cases),
    ]


def few_shot(bench: Bench) -> list[Measure]:
    """Demonstrations in front of every row, after the list of options; computed once."""
    train, cases = tasks.queue_cases("train"), tasks.queue_cases("test")
    told = "Route each bank customer to the right place.\nOptions: " + ", ".join(train[0].options) + "\n"
    found: list[Measure] = []
    for per_queue, longest in ((1, 14), (4, 9)):
        shown = tasks.demonstrations(train, per_queue, seed=per_queue, longest=longest)
        ids = bench.tokenizer(told + shown)["input_ids"]
        front = scoring.front_of_tokens(bench.model, ids)
        prompts = [tasks.BARE_QUEUE_WORDING.format(text=case.text) for case in cases]
        encoded = bench.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        said = scoring.choices_of_tokens(bench.model, bench.tokenizer, encoded, [c.options for c in cases], front=front)
        name = f"Banking77, 12 queues: few-shot, {per_queue} per queue"
        found.append(measure(name, said, cases, tokens_in_front=len(ids), longest=len(ids) + max(map(len, encoded))))
    return found


def order(bench: Bench) -> list[Measure]:
    """How often the answer changes when the options are listed in another order."""
    cases = tasks.sample(tasks.queue_cases("test"), ORDER_ROWS, 5)
    wording = _queue_wording(bench)
    first = bench.choices(wording, cases)
    changed = [bench.choices(wording, tasks.shuffled(cases, seed)) for seed in range(5)]
    flips = sum(a != b for said in changed for a, b in zip(first, said, strict=True))
    return [{"name": "Banking77, 12 queues: answers changed by 5 shuffled option orders", "hits": flips, "rows": 5 * len(cases)}]


def tuned(bench: Bench) -> list[Measure]:
    """Soft prompt, prefix and LoRA on all training rows, three seeds each, and what they cost elsewhere."""
    train, cases = tasks.queue_cases("train"), tasks.sample(tasks.queue_cases("test"), TUNED_ROWS, 6)
    wording = _queue_wording(bench)
    untuned = measure("Banking77, 12 queues, the rows below: zero-shot", bench.choices(wording, cases), cases)
    rows = [tuning.Example(tasks.prompt(wording, case), case.label) for case in train]
    found: list[Measure] = [untuned]
    for name, recipe in tuning.RECIPES.items():
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as out:
                model, seconds = tuning.tune(bench.folder, recipe, rows, train[0].options, seed, Path(out))
            base, front = model.get_base_model(), tuning.front_of(model)
            said = Bench(bench.folder, bench.data, base, bench.tokenizer).choices(wording, cases, front)
            result = measure(f"Banking77, 12 queues: {name}, seed {seed}", said, cases, seconds=round(seconds))
            if seed == 0 and bench.data.exists():
                result["perplexity"] = round(perplexity(base, bench, front), 1)
            print(json.dumps(result), flush=True)
            found.append(result)
    return found


@torch.inference_mode()
def perplexity(model: BertLMHeadModel, bench: Bench, front: scoring.Front | None = None) -> float:
    """Per token, on the openings of news stories."""
    total, count = 0.0, 0
    for text in tasks.unrelated_texts(bench.data):
        ids = bench.tokenizer(text, return_tensors="pt")["input_ids"]
        cache = scoring.cache_of(front, 1) if front else None
        logits = model(input_ids=ids, past_key_values=cache, use_cache=cache is not None).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        count += len(logits)
    return math.exp(total / count)


def unrelated(bench: Bench) -> list[Measure]:
    return [{"name": "Unrelated text: perplexity before tuning", "perplexity": round(perplexity(bench.model, bench), 1)}]


PARTS: dict[str, Callable[[Bench], list[Measure]]] = {
    "clinc": clinc, "snips": snips, "queues": queues, "few-shot": few_shot, "order": order, "unrelated": unrelated,
    "tuned": tuned,
}  # fmt: skip


def table(results: dict[str, list[Measure]]) -> str:
    lines = ["| setting | rows | share | 95 % interval | |", "| --- | ---: | ---: | --- | --- |"]
    for row in (row for part in PARTS for row in results.get(part, [])):
        notes = [f"{key.replace('_', ' ')} {row[key]}" for key in ("seconds", "perplexity", "tokens_in_front") if key in row]
        if "lead_over_overlap" in row:
            found, low, high = (100 * share for share in row["lead_over_overlap"])
            notes.append(f"{found:+.1f} points ({low:+.1f} to {high:+.1f}) on overlap, paired")
        if "hits" in row:
            low, high = baselines.wilson(row["hits"], row["rows"])
            figures = f"{row['rows']:,} | {row['hits'] / row['rows']:.1%} | {low:.1%} – {high:.1%}"
        else:
            figures = " | | "
        lines.append(f"| {row['name']} | {figures} | {', '.join(notes)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=tasks.HERE / "model")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with starter/*.jsonl.gz")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="measure these parts (again)")
    parser.add_argument("--results", type=Path, default=Path("starter-results.json"))
    given = parser.parse_args()
    results: dict[str, list[Measure]] = json.loads(given.results.read_text()) if given.results.exists() else {}
    bench = load_bench(given.model, given.data)
    for part in given.only or [name for name in PARTS if name not in results]:
        results[part] = PARTS[part](bench)
        given.results.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
