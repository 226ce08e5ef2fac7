"""Keeps the state of a training on disk so that it can go on bit by bit as if nothing had happened. Knows no model and no data.

Only safetensors and JSON. Tensors are written first and the manifest last, each through a temporary file that is flushed to
disk and renamed, so a kill at any moment leaves the previous checkpoint whole.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

_MANIFEST = "checkpoint.json"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a checkpoint and drop the one before it.

    Args:
        folder: made when missing.
        step: steps done.
        tensors: everything that is a tensor, by name.
        facts: everything else, plain JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    name = f"step-{step:07d}.safetensors"
    _write(folder / name, content)
    manifest = {"step": step, "file": name, "sha256": hashlib.sha256(content).hexdigest(), "facts": facts}
    _write(folder / _MANIFEST, json.dumps(manifest).encode())
    for old in folder.glob("step-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """Step, tensors and facts of the last whole checkpoint; None when there is none."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        content = (folder / manifest["file"]).read_bytes()
    except (OSError, ValueError, KeyError):
        return None
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        return None
    return manifest["step"], load(content), manifest["facts"]


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
