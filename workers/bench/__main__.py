"""`make bench`: the chosen measures one after the other, a table at the end, a report that grows with each.

Environment: QUICK=1 takes a small shape and judges nothing; BENCH_ONLY=a1,b takes the measures whose ids begin so and keeps what else
an equal benchmark has left in the report; BENCH_CLOCK=cpu counts processor time of one thread; BENCH_ROUNDS=5.
"""

import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from workers.bench import memory, scoring, serving, starting, target, tuning
from workers.bench.lab import FULL, ON_GPU, QUICK, Lab
from workers.bench.machine import Busy, all_versions, busy_sentence, commit, describe, multiply_rate, refuse_busy_machine, settler
from workers.bench.protocol import Entry, NotEqual, Rules
from workers.bench.shapes import QWEN_500M, SMALL, SMOL_135M
from workers.bench.table import Report, line_of, print_table
from workers.engine.latency import OtherLoad
from workers.engine.model.runtime import choose_device, keep_freed_memory, quiet_libraries

MEASURES: dict[str, Callable[[Lab], Entry]] = {
    "a1": scoring.a1,
    "a2": scoring.a2,
    "a3": scoring.a3,
    "a3-bf16": scoring.a3_bf16,
    "a4": scoring.a4,
    "a5": scoring.a5,
    "b1": tuning.b1,
    "b2-trainer": tuning.b2_trainer,
    "b2-trl": tuning.b2_trl,
    "b3": tuning.b3,
    "b4": tuning.b4,
    "b5": target.b5,
    "c1-p20": serving.c1_p20,
    "c1-p100": serving.c1_p100,
    "c1-p20-grouped": serving.c1_p20_grouped,
    "c1-p100-grouped": serving.c1_p100_grouped,
    "c2": serving.c2,
    "c2-grouped": serving.c2_grouped,
    "c3": serving.c3,
    "c4": serving.c4,
    "memory": memory.memory,
    "host-warm": starting.host_warm,
    "host-cold": starting.host_cold,
}
# These run in processes of their own, whose time is theirs and not another program's.
_APART = ("memory", "host-warm", "host-cold")


def main() -> int:
    """Run the chosen measures; 1 when a gate is missed or a measure failed, 2 when the machine is busy or became so."""
    quiet_libraries()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    keep_freed_memory()
    chosen = choose(os.environ.get("BENCH_ONLY", ""))
    quick, clock = os.environ.get("QUICK", "") not in ("", "0"), os.environ.get("BENCH_CLOCK", "wall")
    if clock not in ("wall", "cpu"):
        print(f"BENCH_CLOCK is {clock!r}; it must be wall or cpu.", file=sys.stderr)
        return 2
    try:
        others = refuse_busy_machine() if clock == "wall" and not quick else 0.0
    except Busy as busy:
        print(busy, file=sys.stderr)
        return 2
    home = Path(os.environ.get("PROMPTLAB_HOME", "var")).resolve() / "bench"
    lab = make_lab(home / "work", quick, clock)
    report = Report(home / "latest.json", facts_of(lab, quick, others))
    disturbed = []
    try:
        for name in chosen:
            if measure(lab, name, report):
                disturbed.append(name)
    finally:
        shutil.rmtree(lab.folder, ignore_errors=True)
    print_table(report.entries)
    print(f"\nWritten to {report.file}.")
    for name, failure in report.failures.items():
        print(f"{name}: {failure}", file=sys.stderr)
    if report.failures or any(entry.ok is False for entry in report.entries):
        return 1
    if disturbed:
        print(f"The machine became busy, so that {', '.join(disturbed)} must be measured again.", file=sys.stderr)
    return 2 if disturbed else 0


def facts_of(lab: Lab, quick: bool, others: float) -> dict[str, Any]:
    """What a report says besides its entries."""
    return {
        "commit": commit(),
        "mode": "quick" if quick else "full",
        "clock": lab.rules.clock,
        "shape": lab.shape.name,
        "dtype": lab.dtype,
        "threads": torch.get_num_threads(),
        "rounds": lab.rules.rounds,
        "versions": all_versions(),
        "machine": describe(torch.device(lab.device)),
        "others_at_start": others,
        "gemm_gflops": lab.rules.peak,
    }


def choose(asked: str) -> list[str]:
    """Ids of the measures to run: all, or those whose ids begin with one of the given words.

    Raises:
        SystemExit: a word fits no measure.
    """
    words = [word.strip() for word in asked.split(",") if word.strip()]
    for word in words:
        if not any(name.startswith(word) for name in MEASURES):
            raise SystemExit(f"BENCH_ONLY names {word!r}, which no measure begins with. Measures: {', '.join(MEASURES)}.")
    return [name for name in MEASURES if not words or any(name.startswith(word) for word in words)]


def make_lab(folder: Path, quick: bool, clock: str) -> Lab:
    """The model and the rules that fit this machine; one thread where processor time is counted."""
    device = choose_device("auto")
    on_gpu = device.type == "cuda"
    if clock == "cpu":
        torch.set_num_threads(1)
    dtype = "bf16" if on_gpu else "fp32"
    shape = SMALL if quick else QWEN_500M if on_gpu else SMOL_135M
    peak = multiply_rate(device, torch.bfloat16 if on_gpu else torch.float32)
    rounds = int(os.environ.get("BENCH_ROUNDS", "2"))
    rules = Rules(rounds, clock, not quick and clock == "wall" and not on_gpu, peak, settler(device))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Lab(folder, shape, QUICK if quick else ON_GPU if on_gpu else FULL, rules, device.type, dtype)


def measure(lab: Lab, name: str, report: Report) -> bool:
    """One measure into the report; one that fails is named there and has no figure.

    Returns:
        Whether other programs disturbed it, so that it has no ratio.
    """
    look, started = OtherLoad(), time.perf_counter()
    try:
        entry = MEASURES[name](lab)
    except Exception as error:  # noqa: BLE001 - minutes of other measures must not be lost
        report.fail(name, f"{type(error).__name__}: {error}")
        if not isinstance(error, NotEqual):
            traceback.print_exc()
        return False
    others = look.cores()
    busy = busy_sentence(others) if lab.rules.judged and name not in _APART else ""
    if busy:
        entry.ok, entry.ratio, entry.note = None, None, busy
    entry.details |= {"others": others, "seconds": time.perf_counter() - started}
    report.add(entry)
    print(line_of(entry), flush=True)
    return bool(busy)


if __name__ == "__main__":
    sys.exit(main())
