"""What learned tokens start from: a text, or a tuned prompt of the library; what stands against either.

Knows artifacts by their manifests and the engine's method names as plain text (tests/architecture compares them); writes nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.catalogue.kinds import RecipeKind, RecipeOption
from experiments.catalogue.recipes import CATALOGUE
from experiments.models import Artifact, Backbone, DatasetVersion, TemplateVersion
from experiments.prompting.slots import slot_iterate
from experiments.wording import counted, listed, quoted

# A soft prompt is one vector a token, whichever of these methods learned it.
VECTOR_METHODS = ("prompt_tuning", "p_tuning", "cpt")
VIRTUAL_TOKENS = "num_virtual_tokens"
# Starts whose words say how many learned tokens "as many as there are" would be.
_WORDS = ("template", "label_words")
STARTABLE = tuple(kind for kind in CATALOGUE.values() if kind.is_tuned)


def methods_to_start_from(method: str) -> tuple[str, ...]:
    """The engine's methods whose tuned prompts this one can start from."""
    return VECTOR_METHODS if method == "prompt_tuning" else (method,)


def start_name(artifact: Artifact) -> str:
    """How a tuned prompt is told from others of the same approach."""
    run = artifact.run
    return f"{run.approach.name} · seed {run.seed} · {run.approach.experiment.name}"


def text_problems(
    kind: RecipeKind, options: Mapping[str, Any], template: TemplateVersion, version: DatasetVersion, backbone: Backbone
) -> Iterator[str]:
    """What stands against learned tokens that are to start from words which are not there."""
    init = options.get("init")
    if options.get(VIRTUAL_TOKENS) == 0 and init not in _WORDS:
        yield f"{kind.name}: 0 learned tokens means as many as its start text has, and it starts from no text. Set them to 1 or more."
    elif init == "label_words" and not version.labels:
        yield f"{kind.name} is to start from the answer words, but {version} has free answers. Let it start from the written prompt."
    elif init == "template" and not options["init_text"] and not _text_before_row(template, backbone):
        yield (
            f"{kind.name} is to start from the text before the row, but {quoted(str(template))} has none there. Give it a start text, "
            "or let it start from the answer words or the vocabulary."
        )


def _text_before_row(template: TemplateVersion, backbone: Backbone) -> bool:
    """Whether anything stands before the first column; a chat template puts words there, and so may one that nobody has looked for."""
    if backbone.facts.get("has_chat_template") is not False:
        return True
    if template.demonstrations and not template.system.strip():
        return True
    text = template.system if template.system.strip() else template.user
    slot = next(iter(slot_iterate(text)), None)
    return bool((text[: slot.start] if slot else text).strip())


def start_problems(kind: RecipeKind, options: Mapping[str, Any], backbone: Backbone, artifact: Artifact) -> Iterator[str]:
    """What stands against starting this approach from this tuned prompt, a sentence each."""
    made = artifact.run.approach
    name = quoted(start_name(artifact))
    if not kind.is_tuned:
        yield f"{kind.name} learns no part of its own, so it cannot start from the tuned prompt {name}. Leave the start empty."
    elif made.method not in methods_to_start_from(kind.method):
        fitting = [other.name for other in CATALOGUE.values() if other.method in methods_to_start_from(kind.method)]
        yield f"{kind.name} cannot start from {name}: it can start from {listed(fitting)}. Choose one of these."
    elif made.backbone_id != backbone.pk:
        model = quoted(made.backbone.name) if made.backbone else "another model"
        ours = quoted(backbone.name)
        yield f"{kind.name} cannot start from {name}: it was made on {model}, this one runs on {ours}. Choose the same model."
    else:
        yield from (_differing(kind, option, options, artifact) for option in kind.options if _differs(option, options, artifact))


def _differs(option: RecipeOption, options: Mapping[str, Any], artifact: Artifact) -> bool:
    if not option.shapes:
        return False
    theirs = _theirs(option, artifact)
    return theirs is not None and theirs != options[option.name]


def _theirs(option: RecipeOption, artifact: Artifact) -> Any:
    """The value that the tuned prompt was made with; None when its method has no such dial."""
    manifest = artifact.manifest
    if option.name == VIRTUAL_TOKENS and manifest.get("virtual_tokens"):
        return manifest["virtual_tokens"]
    return manifest.get("recipe", {}).get("options", {}).get(option.name)


def _differing(kind: RecipeKind, option: RecipeOption, options: Mapping[str, Any], artifact: Artifact) -> str:
    theirs, ours = _theirs(option, artifact), options[option.name]
    if option.name == VIRTUAL_TOKENS:
        said = f"it has {counted(theirs, 'learned token')}, this one {ours:,}"
    else:
        said = f"its {option.label.lower()} is {_shown(theirs)}, this one's {_shown(ours)}"
    advice = f"Set {option.label} to {_shown(theirs)}." if not option.fixed else "Choose the approach that it was made by."
    return f"{kind.name} cannot start from {quoted(start_name(artifact))}: {said}. {advice}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
