"""A prompt ready to be served beside others: its words, and where the states and adapters that answer its rows come from.

Knows artifacts and specs; what is held in memory and for how long is the business of `answerer`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workers.engine.answering.probe import scoring_reason, writing_reason
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.recipes import IN_FRONT, METHODS
from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadSpec, MissingModel, Unsupported
from workers.engine.methods.artifacts import load_tuning, read_manifest
from workers.engine.methods.tuned import Tuning
from workers.engine.methods.tuning import PeftTuning, frame_of
from workers.engine.model.backbone import Backbone
from workers.engine.passes.answers import AnswerTrie
from workers.engine.passes.prefix import PrefixStates, Virtual, prefix_of
from workers.engine.prompts.frame import Frame
from workers.engine.serving.row_adapters import RowAdapter, RowAdapters, adapter_of

INSIDE = ("lora", "ia3")
_WRITTEN = ("hard_prompt", "label_bias")


@dataclass(frozen=True)
class Held:
    """What stands in memory for one prompt.

    Args:
        states: the KV prefix: learned part, if any, and the text that all its rows begin with, run once.
        adapter: what LoRA or IA3 adds to the model's matrices.
    """

    states: PrefixStates | None
    adapter: RowAdapter | None

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in (self.states, self.adapter) if part)


@dataclass(frozen=True)
class ServedPrompt:
    """A prompt that requests can name. Its tensors may have left the memory; they come back when they are asked for.

    Args:
        frame: puts rows into words.
        virtual_tokens: learned positions in front of every row.
        files: hashes of the artifact, empty for a written prompt.
    """

    name: str
    frame: Frame
    virtual_tokens: int = 0
    files: tuple[tuple[str, str], ...] = ()

    @property
    def trie(self) -> AnswerTrie | None:
        """All answers of a classification; None for free answers."""
        return self.frame.trie

    @property
    def has_adapter(self) -> bool:
        """Whether something is added to the model's matrices for its rows."""
        return self.frame.spec.artifact is not None and self.frame.spec.recipe.method in INSIDE

    @property
    def opening(self) -> tuple[int, ...]:
        """Ids that stand in the KV prefix besides the learned part."""
        return () if self.frame.replaced else self.frame.opening_ids


def spec_of_artifact(folder: Path, backbone: Backbone) -> RunSpec:
    """What a tuned prompt's manifest says about it, as a spec that has nothing left to do.

    Raises:
        MissingModel: the folder is not a whole artifact, or its content has changed.
        BadSpec: its recipe or template makes no sense.
    """
    manifest = read_manifest(folder)
    asked = {name: manifest[name] for name in ("recipe", "template", "labels", "answer_words", "task")}
    backbone_ref = {"source": backbone.ref.source, "revision": backbone.ref.revision}
    return RunSpec.from_json({"id": folder.name, "backbone": backbone_ref, "evaluate": [], "artifact": str(folder), **asked})


def serve(name: str, spec: RunSpec, backbone: Backbone) -> tuple[ServedPrompt, Held]:
    """A prompt, tried out on two short rows: behind its KV prefix they must answer as they do when they are run whole.

    Args:
        name: what requests call it.
        spec: a written prompt, or one that names an artifact.
    Raises:
        Unsupported: its rows cannot share a pass with rows of other prompts; the sentence names it.
        EngineError: as loading says.
    """
    _refuse_method(name, spec)
    # A row too long for its prompt is answered with a sentence and stops no other.
    spec = replace(spec, too_long="skip", truncate_column="", keep_prompts=False)
    files: tuple[tuple[str, str], ...] = ()
    if spec.artifact is not None:
        files = _files_of(spec.artifact)
    virtual, adapter = _load(name, spec, backbone)
    frame = frame_of(spec, backbone, virtual.length)
    if frame.room() < 1:
        raise BadSpec(f"{name} leaves no room for a row: the model reads {backbone.window:,} tokens.")
    prompt = ServedPrompt(name, frame, virtual.length, files)
    held = _run_prefix(prompt, virtual, adapter)
    rows = [row.ids for row in frame.encode([Item(text, dict.fromkeys(frame.template.slots(), text), "") for text in ("a", "some words")])]
    with _on(adapter, backbone):
        if frame.trie is None:
            reason = writing_reason(backbone, virtual, rows)
        else:
            reason = scoring_reason(Scorer(backbone, frame.trie, virtual), rows)
    if reason:
        raise Unsupported(f"{name} cannot share a pass with rows of other prompts: {reason}. Run it alone.")
    return prompt, held


def hold_again(prompt: ServedPrompt) -> Held:
    """The tensors of a prompt that had to leave the memory.

    Raises:
        MissingModel: its artifact is gone or is another one by now.
    """
    spec = prompt.frame.spec
    if spec.artifact is not None and _files_of(spec.artifact) != prompt.files:
        raise MissingModel(f"The artifact of {prompt.name} was replaced since it was loaded. Load it again.")
    virtual, adapter = _load(prompt.name, spec, prompt.frame.backbone)
    return _run_prefix(prompt, virtual, adapter)


def _refuse_method(name: str, spec: RunSpec) -> None:
    method = METHODS[spec.recipe.method]
    if spec.template.first_step:
        raise Unsupported(f"{name} answers in two steps, so its rows cannot share one pass with rows of other prompts. Run it alone.")
    if spec.artifact is None:
        if spec.recipe.method not in _WRITTEN or (spec.recipe.method == "label_bias" and not spec.label_bias):
            raise Unsupported(
                f"{name} is a recipe of the kind “{method.title}”, which has to be made first. Run it, then load the artifact that it "
                "leaves, or the prompt that it found as a hard prompt."
            )
    elif spec.recipe.method not in (*IN_FRONT, *INSIDE):
        served = ", ".join(METHODS[each].title for each in (*IN_FRONT, *INSIDE))
        raise Unsupported(
            f"{name} was made by “{method.title}”, whose rows cannot share a pass with rows of other prompts. "
            f"Those of these kinds can: {METHODS['hard_prompt'].title}, {served}. Run it alone."
        )


def _files_of(folder: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(read_manifest(Path(folder))["files"].items()))


def _load(name: str, spec: RunSpec, backbone: Backbone) -> tuple[Virtual, RowAdapter | None]:
    """The tuned part out of its folder; the model is left as it was."""
    if spec.artifact is None:
        return Virtual(), None
    tuning: Tuning = load_tuning(Path(spec.artifact), backbone)
    try:
        assert isinstance(tuning, PeftTuning), "all methods that are served are PEFT's"
        with torch.no_grad():
            return (tuning.virtual(), None) if tuning.is_prompt else (Virtual(), adapter_of(backbone.model, name))
    finally:
        tuning.remove()


def _run_prefix(prompt: ServedPrompt, virtual: Virtual, adapter: RowAdapter | None) -> Held:
    backbone = prompt.frame.backbone
    with torch.inference_mode(), _on(adapter, backbone):
        return Held(prefix_of(backbone.model, virtual, prompt.opening), adapter)


def _on(adapter: RowAdapter | None, backbone: Backbone) -> AbstractContextManager[None]:
    return RowAdapters([adapter]).on(backbone.model) if adapter else nullcontext()
