"""Folders of tuned parts: the method's own files plus PromptLab's manifest. Only safetensors and JSON are read or written."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from workers.engine.contract.outcome import ArtifactRecord, write_json
from workers.engine.contract.recipes import METHODS, may_start_from
from workers.engine.contract.spec import Recipe, RunSpec
from workers.engine.errors import BadSpec, MissingModel
from workers.engine.methods.bottleneck import WEIGHTS as ADAPTERS
from workers.engine.methods.bottleneck import load_bottleneck
from workers.engine.methods.full import load_full, read_full
from workers.engine.methods.tuned import Tuning
from workers.engine.methods.tuning import NETWORK, VECTORS, WEIGHTS, PeftTuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.runtime import versions
from workers.engine.prompts.frame import Frame

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
    write_json(partial / MANIFEST, _manifest(spec, tuning.recipe, frame, files))
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
    _refuse_other_backbone(folder, manifest, backbone)
    recipe = Recipe(manifest["recipe"]["method"], manifest["recipe"]["options"])
    if recipe.method in _OWN:
        tuning = _OWN[recipe.method](folder, backbone, recipe)
        backbone.model.eval()
        return tuning
    peft_model = PeftModel.from_pretrained(backbone.model, str(folder), is_trainable=False, autocast_adapter_dtype=False)
    peft_model.requires_grad_(False)
    backbone.model.eval()
    return PeftTuning(recipe, peft_model=peft_model)


def start_from(folder: Path, tuning: Tuning, backbone: Backbone) -> None:
    """Let a training start from the tuned part of another run instead of its own start values.

    Source: Vu et al. 2022, SPoT (arXiv 2110.07904), for soft prompts; the same for every other method.

    Raises:
        MissingModel: the folder is not a whole artifact, or its content has changed.
        BadSpec: it was made for another model, by another method, or is of another shape.
    """
    manifest = read_manifest(folder)
    _refuse_other_backbone(folder, manifest, backbone)
    if manifest["backbone"].get("source") != backbone.facts["source"]:
        raise BadSpec(
            f"The tuned prompt in {folder.name} was made for {manifest['backbone'].get('source')}, and this model is "
            f"{backbone.facts['source']}. Start from one that was made on the same model."
        )
    made_by, allowed = manifest["recipe"]["method"], may_start_from(tuning.recipe.method)
    if made_by not in allowed:
        raise BadSpec(
            f"The tuned prompt in {folder.name} was made by {made_by}; {tuning.recipe.method} can start from: {', '.join(allowed)}. "
            "Choose another start."
        )
    found, own = _state_in(folder, tuning.recipe.method, backbone), tuning.state()
    theirs, ours = ({name: tuple(tensor.shape) for name, tensor in state.items()} for state in (found, own))
    if theirs != ours:
        raise BadSpec(f"The tuned prompt in {folder.name} cannot be the start of this one: {_difference(theirs, ours)}")
    tuning.take({name: tensor.to(own[name].device, own[name].dtype) for name, tensor in found.items()})


def _state_in(folder: Path, method: str, backbone: Backbone) -> dict[str, Tensor]:
    """What a training of this method can go on from, by the names of `Tuning.state`."""
    if method == "full":
        return read_full(folder, backbone)
    name = {"bottleneck": ADAPTERS, "p_tuning": NETWORK}.get(method, WEIGHTS)
    if not (folder / name).is_file():
        raise MissingModel(f"The folder {folder.name} has no {name}, which a training needs to go on. Start from another tuned prompt.")
    return load_file(folder / name)


def _difference(theirs: dict[str, tuple[int, ...]], ours: dict[str, tuple[int, ...]]) -> str:
    if theirs.keys() == ours.keys() == {VECTORS}:
        count, wanted = theirs[VECTORS][0], ours[VECTORS][0]
        return f"it has {count} learned tokens, this recipe {wanted}. Set num_virtual_tokens to {count}."
    return "its matrices have other names or shapes. Use the options that it was made with."


def _refuse_other_backbone(folder: Path, manifest: dict[str, Any], backbone: Backbone) -> None:
    made_for = manifest["backbone"]
    for fact, words in (("family", "family"), ("hidden_size", "width"), ("layers", "number of layers")):
        if made_for.get(fact) != backbone.facts[fact]:
            raise BadSpec(
                f"The tuned prompt in {folder.name} was made for {made_for.get('source')}, whose {words} is "
                f"{made_for.get(fact)}; this model has {backbone.facts[fact]}. Use it with the model it was made for."
            )


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


def _manifest(spec: RunSpec, recipe: Recipe, frame: Frame, files: dict[str, str]) -> dict[str, Any]:
    """A sweep may have kept another recipe than the spec's."""
    plain = spec.to_json()
    return {
        "format": 1,
        "run": spec.id,
        "seed": spec.seed,
        "task": spec.task,
        "recipe": {"method": recipe.method, "options": dict(recipe.options)},
        "template": plain["template"],
        "labels": plain["labels"],
        "answer_words": plain["answer_words"],
        "score": spec.score,
        "virtual_tokens": frame.reserved,
        "frame": frame.facts(),
        "backbone": frame.backbone.facts,
        "versions": versions(),
        "files": files,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
