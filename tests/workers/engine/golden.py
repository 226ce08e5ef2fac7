"""What each family does with each method, found out by doing it: the cells of the capability matrix.

`python -m tests.workers.engine.golden [family or method …]` writes the file and the README's short table of it; `test_families` proves
it equal to the cells.
"""

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from tests.workers.engine.fakes import make_backbone, make_items, make_model, make_run, make_tokenizer, save_model, trie_of
from tests.workers.engine.families import FAMILIES
from workers.engine.answering.generation import Generator
from workers.engine.answering.scoring import Scorer
from workers.engine.approach import Prompted
from workers.engine.building import build_approach
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.outcome import RunResult
from workers.engine.contract.recipes import METHODS, OptionValue
from workers.engine.contract.spec import BackboneRef
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.execute import execute
from workers.engine.model.backbone import load_backbone

MATRIX, README = Path("experiments/catalogue/capabilities.json"), Path("README.md")
BEGIN, END = "<!-- families -->", "<!-- end of families -->"
# What reads a model: the written prompt, every tuned method, and the one baseline that asks the model for its states.
# Searches are left out: all their candidates are written prompts, which have a column.
SEARCHES = ("prompt_search", "dspy_search")
ASKS = tuple(name for name, method in METHODS.items() if method.family in ("prompt", "tuned") or name == "linear_probe")
COLUMNS = tuple(name for name in ASKS if name not in SEARCHES)
# Approaches of their own that are a method with other options; they have a cell only where it differs from the method's.
VARIANTS: dict[str, tuple[str, dict[str, OptionValue]]] = {
    "rslora": ("lora", {"variant": "rslora"}),
    "dora": ("lora", {"variant": "dora"}),
    "pfeiffer": ("bottleneck", {"placement": "pfeiffer"}),
}
_RATES = {"prompt_tuning": 0.5, "cpt": 0.5, "full": 1e-3}
_CLOSE = 2e-4

Cell = dict[str, str]


def cell_of(family: str, method: str, folder: Path, **variant: OptionValue) -> Cell:
    """Run one cell and hold it to its promises.

    Train, save, load, score and write on a tiny random model; each row alone equals the row in company; the shared prefix equals whole
    rows; a PEFT folder predicts the same in plain PEFT.

    Args:
        variant: options that make a variant of the method.
    Returns:
        "path": shared, plain or refused, with the reason where it is not shared; "runs" for what reads no prompt. A "note" where the
        method is not quite what its name says.
    """
    try:
        result = _run(family, method, folder, variant)
    except (BadSpec, Unsupported) as error:
        return {"path": "refused", "reason": error.message.replace(str(folder / "model"), "This model")}
    if method != "linear_probe":
        _hold(family, method, folder)
    told = [warning for warning in result.warnings if "decoder only" in warning]
    return _path(result) | ({"note": told[0]} if told else {})


def _path(result: RunResult) -> Cell:
    path, _, reason = result.shared_prefix.partition(": ")
    if path == "none":
        return {"path": "runs"}
    if path != "plain":
        whole = [warning for warning in result.warnings if "Training ran whole sequences" in warning]
        return {"path": "plain in training", "reason": whole[0].partition(": ")[2].rstrip(".")} if whole else {"path": "shared"}
    return {"path": path, "reason": re.sub(r" by [\d.e+-]+ nats", "", reason)}


def _run(family: str, method: str, folder: Path, variant: Mapping[str, OptionValue]) -> RunResult:
    if family in ("encoder", "bart"):
        source = save_model(folder / "model", family)
        load_backbone(BackboneRef(str(source), dtype="fp32", device="cpu"))
    options = {"learning_rate": _RATES.get(method, 0.02), "max_steps": 3} if METHODS[method].family == "tuned" else {}
    return execute(make_run(folder, make_backbone(family), method, rows=8, options={**options, **variant}))


def _hold(family: str, method: str, folder: Path) -> None:
    artifact = folder / "out" / "artifact"
    again = {"artifact": str(artifact)} if METHODS[method].family == "tuned" else {}
    approach = build_approach(make_run(folder / "again", make_backbone(family), method, rows=8, **again))
    assert isinstance(approach, Prompted)
    rows = [row.ids for row in approach.frame.encode(make_items(8))]
    scorer = Scorer(approach.backbone, trie_of(approach.frame), approach.virtual())
    together = scorer.score(rows).answers
    _equal(together, scores_in(folder), "a loaded artifact scores like the trained one")
    _equal(torch.cat([scorer.score([row]).answers for row in rows[:3]]), together[:3], "a row alone scores like the row in company")
    _equal(replace(scorer, plain_reason="golden").score(rows).answers, together, "whole rows score like rows behind a shared prefix")
    writer = Generator(approach.backbone, Generation(max_new_tokens=5), approach.virtual())
    written = writer.write(rows[:4])[0]
    assert [writer.write([row])[0][0] for row in rows[:4]] == written, "a row alone is answered like the row in company"
    assert replace(writer, plain_reason="golden").write(rows[:4])[0] == written, "whole rows are answered like rows with kept states"
    approach.release()
    if (artifact / "adapter_config.json").is_file():
        model = PeftModel.from_pretrained(make_model(family, len(make_tokenizer())), str(artifact)).eval()
        answers = [answer.ids for answer in trie_of(approach.frame).answers]
        theirs = torch.stack([torch.stack([peft_score(model, row, answer) for answer in answers]) for row in rows[:2]])
        _equal(theirs, together[:2], "plain PEFT scores like the engine")


def peft_score(model: PeftModel, row: tuple[int, ...], answer: tuple[int, ...]) -> Tensor:
    """Summed log-likelihood of an answer by PEFT alone: one sequence, no padding, nothing clever."""
    config = model.get_base_model().config
    with torch.no_grad():
        if config.is_encoder_decoder:
            row = (*row, config.eos_token_id)
            asked = {"decoder_input_ids": torch.tensor([[config.decoder_start_token_id, *answer[:-1]]])}
        else:
            row, asked = (*row, *answer[:-1]), {}
        ids = torch.tensor([row])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **asked).logits[0, -len(answer) :].log_softmax(-1)
    found: Tensor = logits.gather(1, torch.tensor(answer)[:, None]).sum()
    return found


def scores_in(folder: Path) -> Tensor:
    lines = [json.loads(line) for line in (folder / "out" / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()]
    return torch.tensor([list(line["loglikelihoods"].values()) for line in lines])


def _equal(found: Tensor, expected: Tensor, promise: str) -> None:
    gap = float((found - expected).abs().max())
    # fp32 has seven digits: a random T5 gives answers 120 nats, where a sum in another order differs in the fourth decimal.
    assert gap <= max(_CLOSE, 1e-5 * float(expected.abs().max())), f"broken: {promise} (they differ by {gap:.3g} nats)"


def readme_table(known: dict[str, Any]) -> str:
    """The matrix in short, as the README has it: families that differ in nothing but their names in one line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in known.values():
        cells = {method: cell for method, cell in row["cells"].items() if METHODS[method].family != "baseline"}
        refused = [METHODS[method].title for method, cell in cells.items() if cell["path"] == "refused"]
        runs = "none" if len(refused) == len(cells) else f"all but {', '.join(refused)}" if refused else "all"
        whole = any(cell["path"].startswith("plain") for cell in cells.values())
        how = "refused when the model is verified" if runs == "none" else "rows are run whole" if whole else "what rows share is run once"
        said = [how, *dict.fromkeys(cell["note"].partition(":")[0] for cell in cells.values() if "note" in cell)]
        lines.setdefault((runs, ". ".join(said)), []).append(row["title"])
    body = [f"| {', '.join(titles)} | {runs} | {how} |" for (runs, how), titles in lines.items()]
    return "\n".join(["| models | approaches | |", "| --- | --- | --- |", *body])


def write_readme(known: dict[str, Any]) -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{readme_table(known)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _other_variants(family: str, method: str, cell: Cell) -> dict[str, Cell]:
    """The variants of a method that do not do what the method does."""
    found = {}
    for variant, (_, options) in ((name, row) for name, row in VARIANTS.items() if row[0] == method):
        with tempfile.TemporaryDirectory() as folder:
            found[variant] = cell_of(family, method, Path(folder), **options)
    return {variant: its for variant, its in found.items() if its != cell}


def write_matrix(chosen: Sequence[str]) -> None:
    """Find out all cells, or those of the chosen families and methods, and write them down one by one."""
    known: dict[str, Any] = json.loads(MATRIX.read_text(encoding="utf-8")) if MATRIX.is_file() else {}
    for family in [name for name in FAMILIES if name in chosen] or FAMILIES:
        for method in [name for name in COLUMNS if name in chosen] or COLUMNS:
            row = known.setdefault(family, {"title": FAMILIES[family].title, "cells": {}})
            with tempfile.TemporaryDirectory() as folder:
                row["cells"][method] = cell_of(family, method, Path(folder))
            row["variants"] = row.get("variants", {}) | _other_variants(family, method, row["cells"][method])
            row["cells"] = {name: row["cells"][name] for name in COLUMNS if name in row["cells"]}
            rows = {name: known[name] for name in FAMILIES if name in known}
            MATRIX.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_readme(known)


if __name__ == "__main__":
    write_matrix(sys.argv[1:])
