"""c1 to c4: requests to many prompts on one model, against PEFT, one adapter at a time.

Requests are texts here and tokenized by both sides inside the clock. Both sides find the log-likelihood of every label, terminator
included. All rows have the same number of tokens, so that the peer needs no pads.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import PeftModel

from workers.bench.lab import Lab
from workers.bench.protocol import Clock, Entry, Side, compare, judge, require_close, require_same
from workers.bench.shapes import SMALL, text
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.requests import Request
from workers.engine.contract.spec import EvaluateOn, FileRef, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.methods.artifacts import save_artifact
from workers.engine.methods.tuning import create_tuning, frame_of, reserved_positions
from workers.engine.model.backbone import Backbone
from workers.engine.prompts.frame import Frame
from workers.engine.serving.answerer import Answerer

LABELS = ("gepe", "teni", "bele", "deka")  # a token each
_CUE = "\nka"
_TOKENS = 20
_TURNS = 100
_NOISE = 0.5  # how far the prompts are moved from their starts, as a multiple of their own spread


def spec_of(lab: Lab, name: str, recipe: Recipe, system: str = "") -> RunSpec:
    """A prompt that shows the row and a short cue."""
    template = TemplateSpec("{{text}}", system=system, answer_cue=_CUE)
    train = FileRef("none.jsonl") if recipe.is_tuned else None
    return RunSpec(name, lab.ref, template, (EvaluateOn("none", FileRef("none.jsonl")),), labels=LABELS, recipe=recipe, train=train)


def write_artifact(lab: Lab, spec: RunSpec, seed: int) -> Path:
    """An ordinary PEFT folder with a manifest, its numbers moved off their start; written once."""
    folder = lab.folder / spec.id
    if folder.exists():
        return folder
    frame = frame_of(spec, lab.backbone, reserved_positions(spec.recipe))
    tuning = create_tuning(lab.backbone, frame, spec.recipe, seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in tuning.trained():
            parameter.add_(torch.randn_like(parameter) * (_NOISE * float(parameter.std().clamp_min(0.02))))
    save_artifact(folder, spec, frame, tuning)
    tuning.remove()
    return folder


@dataclass
class Served:
    """The same soft prompts on both sides, and requests that name them in a shuffled order."""

    answerer: Answerer
    model: PeftModel
    requests: list[Request]
    virtual: int

    def frame(self, request: Request) -> Frame:
        return self.answerer.prompts[request.prompt].frame


def make_served(lab: Lab, virtual: int) -> Served:
    """Soft prompts written once, loaded by both sides; kept for the next measure."""
    known: Served | None = lab.served.get(virtual)
    if known:
        return known
    names = [f"p{virtual}-{place}" for place in range(lab.sizes.prompts)]
    answerer = Answerer(lab.backbone)
    model = None
    for seed, name in enumerate(names):
        recipe = Recipe("prompt_tuning", {"num_virtual_tokens": virtual, "init": "random"})
        folder = write_artifact(lab, spec_of(lab, name, recipe), seed)
        answerer.load(name, folder)
        if model is None:
            model = PeftModel.from_pretrained(lab.peer, folder, adapter_name=name)
        else:
            model.load_adapter(folder, adapter_name=name)
    assert model is not None, "there is a prompt at least"
    drawn = random.Random(7)
    asked = [names[place % len(names)] for place in range(lab.sizes.requests)]
    drawn.shuffle(asked)
    tokenizer = lab.backbone.tokenizer
    requests = [Request(str(place), name, {"text": _text_of(drawn, tokenizer)}) for place, name in enumerate(asked)]
    made = lab.served[virtual] = Served(answerer, model.eval(), requests, virtual)
    return made


def _text_of(drawn: random.Random, tokenizer: Any) -> str:
    """A row of a fixed number of tokens, so that the peer may group requests without pads, which would change what PEFT computes."""
    words: list[str] = []
    for _ in range(20 * _TOKENS):
        longer = [*words, text(drawn, 1)]
        count = len(tokenizer(" ".join(longer) + _CUE)["input_ids"])
        if count <= _TOKENS:
            words = longer
        if count == _TOKENS:
            return " ".join(words)
    raise AssertionError("words of a token or two add up to any number of tokens")


def context_of(served: Served, request: Request) -> list[int]:
    """The request as the peer encodes it: the row and the cue."""
    ids: list[int] = served.frame(request).tokenizer(request.fields["text"] + _CUE)["input_ids"]
    return ids


def groups_of(requests: Sequence[Request], grouped: bool) -> list[list[int]]:
    """Places of the requests that the peer runs together: one by one, or those of a prompt."""
    if not grouped:
        return [[place] for place in range(len(requests))]
    names = dict.fromkeys(request.prompt for request in requests)
    return [[place for place, request in enumerate(requests) if request.prompt == name] for name in names]


def switched(served: Served, grouped: bool, clock: Clock) -> list[float]:
    """Log-likelihood of every label for every request, as an expert gets it from PEFT: the row once, then its labels behind it."""
    answers = [served.frame(served.requests[0]).answers_of(label)[0].ids for label in LABELS]
    assert all(len(ids) == 2 for ids in answers), "a label is one token and the terminator"
    words, ends = torch.tensor(answers, device=served.answerer.backbone.device).T
    found: dict[int, list[float]] = {}
    clock.start()
    with torch.inference_mode():
        for places in groups_of(served.requests, grouped):
            served.model.set_adapter(served.requests[places[0]].prompt)
            inputs = padded([context_of(served, served.requests[place]) for place in places], served.answerer.backbone)
            row = served.model(**inputs, use_cache=True, logits_to_keep=1)
            row.past_key_values.batch_repeat_interleave(len(LABELS))
            # Through PEFT the prompt would be put in front once more.
            label = served.model.get_base_model()(words.repeat(len(places))[:, None], past_key_values=row.past_key_values)
            first = row.logits[:, -1].float().log_softmax(-1)[:, words]
            second = label.logits[:, -1].float().log_softmax(-1).view(len(places), len(LABELS), -1)
            sums = first + second[:, range(len(LABELS)), ends]
            found |= dict(zip(places, sums.tolist(), strict=True))
    clock.stop()
    return [value for place in range(len(found)) for value in found[place]]


def padded(rows: Sequence[Sequence[int]], backbone: Backbone) -> dict[str, torch.Tensor]:
    """Ids and mask of a batch, pads on the right."""
    pad, device = backbone.terminator_id, backbone.device
    width = max(map(len, rows))
    ids = [[*row, *[pad] * (width - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}


def answered(served: Served, clock: Clock) -> list[float]:
    """The same from the engine, requests of all prompts mixed."""
    clock.start()
    replies = served.answerer.score(served.requests)
    clock.stop()
    return [(reply.loglikelihoods or {})[label] for reply in replies for label in LABELS]


def plain_score(model: Any, frame: Frame, request: Request, label: str, virtual: int) -> float:
    """Log-likelihood of one label, terminator included, from one sequence."""
    context = frame.tokenizer(request.fields["text"] + _CUE)["input_ids"]
    answer = frame.answers_of(label)[0].ids
    device = frame.backbone.device
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*context, *answer]], device=device)).logits[0].float()
    start = virtual + len(context) - 1
    found = logits[start : start + len(answer)].log_softmax(-1)
    return float(sum(found[place, token] for place, token in enumerate(answer)))


def classify(lab: Lab, name: str, virtual: int, grouped: bool) -> Entry:
    """c1: the peer takes requests one by one, or those of a prompt together."""
    served = make_served(lab, virtual)
    theirs = Side(
        f"PEFT set_adapter, {'grouped by prompt' if grouped else 'one by one'}",
        lambda clock: switched(served, grouped, clock),
        flop=switched_flop(lab, served),
    )
    mine = Side("Answerer", lambda clock: answered(served, clock), flop=mixed_flop(lab, served))

    def check(a: list[float], b: list[float]) -> str:
        return require_close("log-likelihoods", a, b, absolute=lab.score_tolerance)

    return compare(lab.rules, name, theirs, mine, check, (len(served.requests), "requests/s"))


def switched_flop(lab: Lab, served: Served) -> float:
    """Prompt and row for each request, then its labels; answers alone projected."""
    lengths = [served.virtual + len(context_of(served, request)) for request in served.requests]
    count = len(LABELS)
    return sum(lab.shape.forward_flop(length + count, length * length / 2 + count * length, 1 + count) for length in lengths)


def mixed_flop(lab: Lab, served: Served) -> float:
    """Row and label nodes for each request, answers alone projected."""
    total = 0.0
    for request in served.requests:
        trie = served.frame(request).trie
        assert trie is not None, "the prompts have labels"
        own = len(context_of(served, request)) + trie.num_nodes
        total += lab.shape.forward_flop(own, own * (served.virtual + own / 2), trie.num_positions)
    return total


def c1_p20(lab: Lab) -> Entry:
    return classify(lab, "c1-p20", 20, grouped=False)


def c1_p100(lab: Lab) -> Entry:
    return classify(lab, "c1-p100", 100, grouped=False)


def c1_p20_grouped(lab: Lab) -> Entry:
    return classify(lab, "c1-p20-grouped", 20, grouped=True)


def c1_p100_grouped(lab: Lab) -> Entry:
    return classify(lab, "c1-p100-grouped", 100, grouped=True)


def generated(lab: Lab, served: Served, grouped: bool, clock: Clock) -> list[str]:
    """What the peer writes, greedily, request by request or a prompt's requests together."""
    found: dict[int, str] = {}
    end = served.answerer.backbone.terminator_id
    tokenizer = served.frame(served.requests[0]).tokenizer
    clock.start()
    with torch.inference_mode():
        for places in groups_of(served.requests, grouped):
            served.model.set_adapter(served.requests[places[0]].prompt)
            inputs = padded([context_of(served, served.requests[place]) for place in places], served.answerer.backbone)
            ids = served.model.generate(**inputs, max_new_tokens=lab.sizes.told, do_sample=False, pad_token_id=end, eos_token_id=end)
            for row, place in enumerate(places):
                written = ids[row, inputs["input_ids"].shape[1] :]
                found[place] = str(tokenizer.decode(written, skip_special_tokens=True)).strip()
    clock.stop()
    return [found[place] for place in range(len(found))]


def written(lab: Lab, served: Served, clock: Clock) -> list[str]:
    """What the engine writes, all requests in batches."""
    rules = Generation(max_new_tokens=lab.sizes.told, stop=())
    clock.start()
    replies = served.answerer.generate(served.requests, rules)
    clock.stop()
    return [reply.text or "" for reply in replies]


def write(lab: Lab, name: str, grouped: bool) -> Entry:
    """c2: free answers."""
    served = make_served(lab, 20)
    theirs = Side(
        f"PEFT generate, {'grouped by prompt' if grouped else 'one by one'}", lambda clock: generated(lab, served, grouped, clock)
    )
    mine = Side("Answerer", lambda clock: written(lab, served, clock))
    amount = (float(len(served.requests) * lab.sizes.told), "tokens/s")
    return compare(lab.rules, name, theirs, mine, lambda a, b: same_answers(lab, a, b), amount)


def same_answers(lab: Lab, theirs: Sequence[str], mine: Sequence[str]) -> str:
    """In fp32 all answers are the same; in bf16 the two likeliest tokens often lie closer than it rounds, and how many are is told.

    Raises:
        NotEqual: one differs in fp32.
    """
    if lab.is_exact:
        return require_same("answers", theirs, mine)
    same = sum(a == b for a, b in zip(theirs, mine, strict=True))
    return f"{same} of {len(theirs)} answers the same"


def c2(lab: Lab) -> Entry:
    return write(lab, "c2", grouped=False)


def c2_grouped(lab: Lab) -> Entry:
    return write(lab, "c2-grouped", grouped=True)


KINDS: dict[str, dict[str, Any]] = {
    "prompt_tuning": {"num_virtual_tokens": 6, "init": "random"},
    "p_tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "prefix_tuning": {"num_virtual_tokens": 5, "init": "vocabulary"},
    "lora": {"rank": 4},
    "ia3": {},
    "hard_prompt": {},
}


def c3(lab: Lab) -> Entry:
    """Rows of six kinds in one pass, each as plain PEFT scores it with the model to itself."""
    answerer = Answerer(lab.backbone)
    drawn = random.Random(9)
    requests, theirs = [], []
    for kind, options in KINDS.items():
        request = Request(kind, kind, {"text": text(drawn, 8)})
        spec = spec_of(lab, kind, Recipe(kind, options))
        if kind == "hard_prompt":
            frame = answerer.load(kind, spec).frame
            theirs += [plain_score(lab.peer, frame, request, label, 0) for label in LABELS]
        else:
            folder = write_artifact(lab, spec, seed=3)
            frame = answerer.load(kind, folder).frame
            model = PeftModel.from_pretrained(lab.peer, folder).eval()
            virtual = int(options.get("num_virtual_tokens", 0)) if kind in ("prompt_tuning", "p_tuning") else 0
            theirs += [plain_score(model, frame, request, label, virtual) for label in LABELS]
            if kind in ("lora", "ia3"):
                model.unload()
        requests.append(request)
    mine = [(reply.loglikelihoods or {})[label] for reply in answerer.score(requests) for label in LABELS]
    entry = Entry("c3", "PEFT, one adapter at a time: it cannot mix kinds", "kinds", ours=len(KINDS))
    entry.equal = require_close("log-likelihoods", theirs, mine, absolute=lab.score_tolerance)
    entry = judge(entry, lab.rules)
    entry.ok = True if lab.rules.judged else None
    return entry


def c4(whole: Lab) -> Entry:
    """The same kind of request beside 1,000 loaded prompts and beside none: median processor time, the two asked in turn.

    On the small shape, where what is not the model's arithmetic weighs most.
    """
    lab = whole.on(SMALL)
    alone, beside = Answerer(lab.backbone), Answerer(lab.backbone)
    drawn = random.Random(11)
    for place in range(lab.sizes.registered):
        spec = spec_of(lab, f"hard-{place}", Recipe("hard_prompt"), system=text(drawn, 12))
        beside.load(spec.id, spec)
        if place == 0:
            alone.load(spec.id, spec)
    times: dict[str, list[float]] = {"alone": [], "beside": []}
    for turn in range(_TURNS):
        fields = {"text": text(drawn, 10)}
        other = f"hard-{drawn.randrange(lab.sizes.registered)}"
        for who, answerer, name in (("alone", alone, "hard-0"), ("beside", beside, other)):
            started = time.process_time()
            answerer.score([Request(str(turn), name, fields)])
            times[who].append((time.process_time() - started) * 1000)
    same = [Request(str(turn), "hard-0", {"text": text(drawn, 10)}) for turn in range(4)]
    found = [[reply.label for reply in answerer.score(same)] for answerer in (alone, beside)]
    one, many = median(times["alone"]), median(times["beside"])
    entry = Entry("c4", "one prompt loaded", "ms of processor time", many, one, one / many, equal=require_same("answers", *found))
    held = beside.shelf.num_bytes
    entry.note = f"{lab.sizes.registered:,} prompts loaded, {held:,} bytes of states held"
    return judge(entry, lab.rules)
