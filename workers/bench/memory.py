"""Peak memory of tuning above the loaded weights, each side in a process of its own.

Run as a program with the side's name, it trains a few steps and prints the bytes that they took at most.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch

from workers.bench.lab import Lab, Sizes
from workers.bench.protocol import Clock, Entry, Rules, judge
from workers.bench.shapes import SHAPES
from workers.bench.tuning import ours
from workers.bench.tuning_peers import EXAMPLE, library
from workers.bench.tuning_task import make_task
from workers.engine.model.runtime import keep_freed_memory, quiet_libraries

_STEPS = 3


def memory(lab: Lab) -> Entry:
    """b1's training on both sides."""
    lab.ref  # noqa: B018 - the model is written before the children look for it
    found = {side: _child(lab, side) for side in ("peer", "ours")}
    entry = Entry("memory", EXAMPLE.name, "MB above the weights")
    entry.peer_value, entry.ours = found["peer"] / 1e6, found["ours"] / 1e6
    entry.ratio = found["peer"] / found["ours"]
    entry.equal = "the training of b1"
    return judge(entry, lab.rules)


def _child(lab: Lab, side: str) -> float:
    asked = json.dumps({"side": side, "folder": str(lab.folder), "shape": lab.shape.name, "device": lab.device, "dtype": lab.dtype})
    done = subprocess.run([sys.executable, "-m", __spec__.name, asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The memory of {side} could not be measured: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def peak_of(side: str, lab: Lab) -> float:
    """Bytes that a training took at most, weights left out."""
    model = lab.backbone.model if side == "ours" else lab.peer
    with torch.no_grad():  # weights that come from a file are in memory once they were read
        sum(float(parameter.sum()) for parameter in model.parameters())
    before = _begin(lab)
    task = make_task(lab, 20)
    if side == "ours":
        keep_freed_memory()  # as every run of the engine does
        ours(lab, task, Clock())
    else:
        library(lab, task, EXAMPLE, Clock())
    return _peak(lab) - before


def _begin(lab: Lab) -> float:
    if lab.backbone.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel's peak begins anew
    return _status("VmRSS")


def _peak(lab: Lab) -> float:
    return float(torch.cuda.max_memory_allocated()) if lab.backbone.device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"The kernel tells no {name}.")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    quiet_libraries()
    made = Lab(Path(given["folder"]), SHAPES[given["shape"]], Sizes(steps=_STEPS), Rules(), given["device"], given["dtype"])
    print(json.dumps(peak_of(given["side"], made)))
