"""Folders of tuned parts: the method's own files plus PromptLab's manifest. Only safetensors and JSON are read or written."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftModel

from workers.engine.backbone import Backbone
from workers.engine.bottleneck import load_bottleneck
from workers.engine.errors import BadSpec, MissingModel
from workers.engine.frame import Frame
from workers.engine.full import load_full
from workers.engine.outcome import ArtifactRecord, write_json
from workers.engine.recipes import METHODS
from workers.engine.runtime import versions
from workers.engine.spec import Recipe, RunSpec
from workers.engine.tuned import Tuning
from workers.engine.tuning import WEIGHTS, PeftTuning

MANIFEST = "promptlab.json"
# Methods that PEFT lacks have folders of their own.
_OWN: dict[str, Callable[[Path, Backbone, Recipe], Tuning]] = {"bottleneck": load_bottleneck, "full": load_full}


def save_artifact(folder: Path, spec: RunSpec, frame: Frame, tuning: Tuning) -> ArtifactRecord:
    """Write a tuned part whole or not at all; the manifest comes last.

    Args:
        folder: final place; an older artifact there is replaced.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tuning.write(partial)
    files = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
    write_json(partial / MANIFEST, _manifest(spec, frame, files))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    files[MANIFEST] = _sha256(folder / MANIFEST)
    return ArtifactRecord(folder.name, files, sum(path.stat().st_size for path in folder.iterdir()))


def load_tuning(folder: Path, backbone: Backbone) -> Tuning:
    """A tuned part from its folder, ready for use on the backbone it was made for.

    Raises:
        MissingModel: the folder is not a whole artifact, or its content has changed.
        BadSpec: it was made for another backbone.
    """
    manifest = read_manifest(folder)
    made_for = manifest["backbone"]
    for fact, words in (("family", "family"), ("hidden_size", "width"), ("layers", "number of layers")):
        if made_for.get(fact) != backbone.facts[fact]:
            raise BadSpec(
                f"The tuned prompt in {folder.name} was made for {made_for.get('source')}, whose {words} is "
                f"{made_for.get(fact)}; this model has {backbone.facts[fact]}. Use it with the model it was made for."
            )
    recipe = Recipe(manifest["recipe"]["method"], manifest["recipe"]["options"])
    if recipe.method in _OWN:
        tuning = _OWN[recipe.method](folder, backbone, recipe)
        backbone.model.eval()
        return tuning
    peft_model = PeftModel.from_pretrained(backbone.model, str(folder), is_trainable=False, autocast_adapter_dtype=False)
    peft_model.requires_grad_(False)
    backbone.model.eval()
    return PeftTuning(recipe, peft_model=peft_model)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact whose files all match their hashes.

    Raises:
        MissingModel: something is missing or has changed.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise MissingModel(f"The folder {folder.name} holds no whole tuned prompt: {MANIFEST} is missing or unreadable.") from error
    # Without its safetensors file a library would look for a pickle, which can run code.
    method = METHODS.get(manifest["recipe"]["method"])
    needed = {WEIGHTS} if method and method.peft_type else set()
    if not needed and not any(name.endswith(".safetensors") for name in files):
        raise MissingModel(f"The folder {folder.name} holds no weights in safetensors. Take it from its source again.")
    for name in needed | set(files):
        path = folder / name
        if not path.is_file() or files.get(name) != _sha256(path):
            raise MissingModel(f"The file {name} of the tuned prompt {folder.name} is missing or has changed since it was made.")
    return manifest


def _manifest(spec: RunSpec, frame: Frame, files: dict[str, str]) -> dict[str, Any]:
    plain = spec.to_json()
    return {
        "format": 1,
        "run": spec.id,
        "seed": spec.seed,
        "task": spec.task,
        "recipe": plain["recipe"],
        "template": plain["template"],
        "labels": plain["labels"],
        "answer_words": plain["answer_words"],
        "score": spec.score,
        "frame": frame.facts(),
        "backbone": frame.backbone.facts,
        "versions": versions(),
        "files": files,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
