"""The prompts that a search tries: instructions x cues x sets of examples x answer words, a seeded choice of them in a fixed order.

The same run always makes the same list, so that a search can go on where it was stopped. Reads train rows only.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from workers.engine.contract.spec import Item, Recipe, RunSpec
from workers.engine.contract.template_spec import Demonstration, TemplateSpec
from workers.engine.prompts.draws import draw_examples, shown
from workers.engine.prompts.variants import Instruction, answer_words_of, cues_of, instructions_of, placed_cue
from workers.engine.search.candidate import Candidate

_DRAWS = 2
_MOST_EXAMPLES = 64
_MOST_WORDINGS = 256


@dataclass(frozen=True)
class _Parts:
    """One value of each thing that a search changes; the names say what differs from the written prompt."""

    instruction: Instruction
    cue: str
    examples: tuple[str, tuple[Demonstration, ...]]
    words: tuple[str, Mapping[str, tuple[str, ...]]]


def candidates_of(spec: RunSpec, train: Sequence[Item], is_chat: bool) -> list[Candidate]:
    """The prompts of a search: the written one, the people's variants as they are, every single change, then mixtures by lot.

    Args:
        train: rows that examples are drawn from.
        is_chat: whether system and user text reach the model apart; otherwise prompts that render alike are tried once.
    """
    most, seed = int(spec.recipe.options["max_candidates"]), int(spec.recipe.options["draw_seed"])  # type: ignore[arg-type]
    found: list[Candidate] = []
    seen: set[str] = set()
    for name, template, words in _in_order(spec, train, seed):
        key = _read_as(template, words, is_chat)
        if key not in seen:
            seen.add(key)
            found.append(Candidate(len(found), name, template, words))
        if len(found) == most:
            break
    return found


def wordings_of(spec: RunSpec, train: Sequence[Item], is_chat: bool) -> list[Candidate]:
    """A prompt as it is and as many variations as the spec has configurations; none shows examples where the prompt shows none, or none
    where it shows some.

    Args:
        train: rows that examples are drawn from, where the prompt shows any.
    """
    count = min(len(spec.template.demonstrations), _MOST_EXAMPLES, len(train))
    wide = Recipe("prompt_search", {"max_candidates": _MOST_WORDINGS, "num_examples": count})
    alike = [
        each
        for each in candidates_of(replace(spec, recipe=wide), train, is_chat)
        if bool(each.template.demonstrations) == bool(spec.template.demonstrations)
    ]
    return [replace(each, number=number) for number, each in enumerate(alike[: spec.num_configurations])]


def draws_of(spec: RunSpec, train: Sequence[Item]) -> list[Candidate]:
    """The prompt with different draws of train rows as its examples, as many draws as the spec has configurations."""
    options = spec.recipe.options
    policy, count, seed = str(options["policy"]), int(options["num_examples"]), int(options["draw_seed"])  # type: ignore[arg-type]
    words = {label: spec.words_of(label) for label in spec.labels}
    draws = [shown(draw_examples(train, policy, count, seed + place)) for place in range(spec.num_configurations)]
    templates = [replace(spec.template, demonstrations=examples) for examples in draws]
    return [Candidate(place, f"draw {place + 1}", template, words) for place, template in enumerate(templates)]


def _in_order(spec: RunSpec, train: Sequence[Item], seed: int) -> Iterator[tuple[str, TemplateSpec, Mapping[str, tuple[str, ...]]]]:
    base = spec.template
    instructions = instructions_of(base, spec.variants, [spec.words_of(label)[0] for label in spec.labels])
    cues = cues_of(base, spec.variants)
    words = answer_words_of(spec.labels, spec.answer_words, spec.variants) if spec.task == "classification" else [("", {})]
    examples = _example_sets(spec, train, seed)
    start = _Parts(instructions[0], cues[0], examples[0], words[0])
    yield "as written", base, start.words[1]
    for each in spec.variants:
        yield f"{each.name} as written", each.template, {label: each.answer_words.get(label) or (label,) for label in spec.labels}
    singles = [
        [_Parts(instructions[0], cues[0], each, words[0]) for each in examples[1:]],
        [_Parts(each, cues[0], examples[0], words[0]) for each in instructions[1:]],
        [_Parts(instructions[0], cues[0], examples[0], each) for each in words[1:]],
        [_Parts(instructions[0], each, examples[0], words[0]) for each in cues[1:]],
    ]
    for together in zip_longest(*singles):
        for parts in together:
            if parts is not None:
                yield _assembled(base, parts)
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    size = len(instructions) * len(cues) * len(examples) * len(words)
    # As many draws as would find most mixtures; whoever asks stops earlier.
    for _ in range(4 * size):
        parts = _Parts(chance.choice(instructions), chance.choice(cues), chance.choice(examples), chance.choice(words))
        yield _assembled(base, parts)


def _assembled(base: TemplateSpec, parts: _Parts) -> tuple[str, TemplateSpec, Mapping[str, tuple[str, ...]]]:
    instruction = parts.instruction
    template = TemplateSpec(
        user=instruction.user,
        system=instruction.system,
        answer_cue=placed_cue(parts.cue, instruction.user),
        demonstrations=parts.examples[1],
        use_chat_template=base.use_chat_template,
    )
    cue = f"cue “{parts.cue.strip()}”" if parts.cue != base.answer_cue else ""
    name = ", ".join(filter(None, [instruction.name, cue, parts.examples[0], parts.words[0]]))
    return name or "as written", template, parts.words[1]


def _example_sets(spec: RunSpec, train: Sequence[Item], seed: int) -> list[tuple[str, tuple[Demonstration, ...]]]:
    """The written examples first, then none, the variants' own, and seeded draws of two sizes."""
    sets: list[tuple[str, tuple[Demonstration, ...]]] = [("", spec.template.demonstrations), ("no examples", ())]
    sets += [(f"examples of {each.name}", each.template.demonstrations) for each in spec.variants if each.template.demonstrations]
    most = min(int(spec.recipe.options["num_examples"]), len(train))  # type: ignore[arg-type]
    for draw in range(_DRAWS):
        for count in dict.fromkeys((most, most // 2)):
            for policy in ("balanced", "random"):
                if count:
                    rows = draw_examples(train, policy, count, seed + draw)
                    sets.append((f"{count} {policy} examples, draw {draw + 1}", shown(rows)))
    return _first_of_each(sets)


def _first_of_each(sets: Sequence[tuple[str, tuple[Demonstration, ...]]]) -> list[tuple[str, tuple[Demonstration, ...]]]:
    seen: set[str] = set()
    kept = []
    for name, examples in sets:
        key = json.dumps([[dict(each.fields), each.label] for each in examples], sort_keys=True)
        if key not in seen:
            seen.add(key)
            kept.append((name, examples))
    return kept


def _read_as(template: TemplateSpec, words: Mapping[str, tuple[str, ...]], is_chat: bool) -> str:
    """What the model reads, as a key."""
    examples = [[dict(each.fields), each.label] for each in template.demonstrations]
    if is_chat or (examples and template.system):
        text = [template.system, template.user]
    else:
        text = [f"{template.system}\n\n{template.user}" if template.system else template.user]
    return json.dumps([text, template.answer_cue, examples, {label: list(said) for label, said in words.items()}], sort_keys=True)
