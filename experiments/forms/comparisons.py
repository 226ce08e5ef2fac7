"""The comparison form: what may be chosen in a workspace, and the plan that a choice means. Stores nothing."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import OuterRef, Q, Subquery
from django.http import QueryDict
from django.utils import timezone

from experiments.catalogue.configurations import MOST
from experiments.catalogue.generation import GenerationPlan
from experiments.catalogue.kinds import BASELINE, ENGINEERED, FULL, HYBRID, TUNED, RecipeKind
from experiments.catalogue.recipes import CATALOGUE, PACK
from experiments.errors import UserError
from experiments.forms.comparison_fields import (
    DataSelect,
    DatasetVersionField,
    PromptField,
    PromptSelect,
    SeedsField,
    option_field,
    start_field,
)
from experiments.forms.generation import GenerationForm
from experiments.forms.teachers import TAUGHT, chosen_teacher, teacher_field, teacher_field_name
from experiments.models import Artifact, Backbone, DatasetVersion, PriceBook, TemplateVersion, Workspace
from experiments.models.backbones import BackboneKind
from experiments.models.comparisons import TooLong
from experiments.models.datasets import Task
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.plans import ExperimentPlan
from experiments.planning.starts import STARTABLE, methods_to_start_from
from experiments.planning.teachers import TERMS_WARNING, Teacher
from experiments.reads.start_prompts import StartPrompt, start_prompt
from experiments.services.prompts import columns_of
from experiments.wording import listed, quoted

CHOICES = [(kind.key, kind.name) for kind in CATALOGUE.values() if kind.family != BASELINE]
MAX_PRESELECTED = 6
MAX_STARTS = 200
DIALLED = [kind for kind in CATALOGUE.values() if kind.free_options]
# The approaches beside the usual ones, by hue.
FURTHER = {
    ENGINEERED: "More from written prompts",
    TUNED: "More that is learned",
    HYBRID: "More of written and learned together",
    FULL: "For reference",
}


@dataclass(frozen=True)
class PromptBoxes:
    """A prompt's tick boxes. `shows_older` while one of the older ones is ticked."""

    newest: Any
    older: list[Any]

    @property
    def shows_older(self) -> bool:
        return any(box.data["selected"] for box in self.older)


class BudgetForm(forms.Form):
    """What hosted models may be asked and may bill."""

    endpoint_requests = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        label="Most calls of hosted models",
        help_text="Runs stop there and say so; what was answered is kept. Empty sets no limit.",
    )
    endpoint_money = forms.DecimalField(
        required=False,
        min_value=0,
        max_digits=14,
        decimal_places=6,
        label="Most money for hosted models",
        help_text="In the currency of the prices, counted before each call by the most that it can cost.",
    )


@dataclass(frozen=True)
class RecipeGroup:
    """Approaches that stand together, each with its tick box. `is_open` while one of the folded ones is ticked."""

    title: str
    hue: str
    boxes: list[tuple[RecipeKind, Any]]

    @property
    def is_open(self) -> bool:
        return any(box.data["selected"] for _, box in self.boxes)


class ComparisonForm(BudgetForm):
    """One form for the whole comparison. `plan()` is what it asks for; `notes` says what was left out."""

    name = forms.CharField(max_length=120, label="Name", help_text="What the comparison should settle, such as “Which prompt for triage?”")
    dataset_version = DatasetVersionField(DatasetVersion.objects.none(), label="Data", widget=DataSelect)
    templates = PromptField(
        TemplateVersion.objects.none(),
        label="Prompts",
        widget=PromptSelect,
        help_text="Each chosen version is compared as it is written.",
    )
    backbone = forms.ModelChoiceField(
        Backbone.objects.none(), label="Model", help_text="The frozen language model that all approaches use."
    )
    endpoints = forms.ModelMultipleChoiceField(
        Backbone.objects.none(),
        required=False,
        label="Hosted models beside it",
        widget=forms.CheckboxSelectMultiple,
        help_text="Each one answers the written prompts too, and bills for it.",
    )
    recipes = forms.MultipleChoiceField(choices=CHOICES, initial=PACK, widget=forms.CheckboxSelectMultiple, label="Approaches")
    tuned_template = forms.ModelChoiceField(
        TemplateVersion.objects.none(),
        required=False,
        label="Prompt that learning starts from",
        empty_label="The best of the chosen prompts so far",
        help_text="Every approach that learns, draws examples or searches begins with it. Left so, it is the chosen prompt that did best "
        "before on this data, else the one saved last; the summary says which.",
    )
    seeds = SeedsField(
        initial=(0, 1),
        required=False,
        label="Seeds",
        help_text="Each tuned approach is trained once a seed, so that you see how much is luck. A verdict on a method needs five.",
    )
    configurations = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST,
        initial=1,
        label="Configurations of each approach",
        help_text="Each approach tries this many and keeps the one that does best on validation rows: tuned ones other step sizes, written "
        "ones other wordings by rule. With one number for all, none wins by being tried more often. 1 compares everything as it is set.",
    )
    price_book = forms.ModelChoiceField(
        PriceBook.objects.none(), required=False, label="Prices", empty_label="None: costs are shown as unknown"
    )
    monthly_requests = forms.IntegerField(
        min_value=1, max_value=10**12, initial=100_000, label="Requests a month", help_text="The volume that the costs assume."
    )
    margin = forms.FloatField(
        min_value=0,
        max_value=50,
        initial=1.0,
        label="Margin in points",
        help_text="“Not worse” means: at most this many points of accuracy less (non-inferiority).",
    )
    too_long = forms.ChoiceField(choices=TooLong.choices, initial=TooLong.REFUSE, label="Rows longer than the model can hold")
    truncate_column = forms.ChoiceField(required=False, label="Column to cut", help_text="Only when rows are cut.")
    curve_when_finished = forms.BooleanField(
        required=False,
        label="Draw a learning curve when every run has ended",
        help_text="The approaches that learn are made again on 16, 64, 256 and 1,024 train rows, as far as there are so many, to see how "
        "many it takes; the point of all train rows is this comparison itself. It can be drawn later as well.",
    )
    open_test_when_finished = forms.BooleanField(
        required=False,
        label="Open the test set when every run has ended",
        help_text="Choices are made on the validation rows. The test rows give the honest final figure, once: opening them is logged and "
        "counted on the report. Leave this off while you still try things.",
    )
    key = forms.CharField(max_length=80, widget=forms.HiddenInput)

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: list[str] = []
        self.answers = GenerationForm(self.data if self.is_bound else None, prefix="answers", initial=self.initial.get("answers"))
        self.fields["key"].initial = str(uuid.uuid4())
        versions = DatasetVersion.objects.complete().filter(dataset__workspace=workspace).select_related("dataset").order_by("-created_at")
        prompts = prompt_versions(workspace)
        known = Backbone.objects.filter(Q(workspace=None) | Q(workspace=workspace), problem="")
        unverified = Q(verified_at=None) & ~Q(kind=BackboneKind.BUNDLED)
        models = known.exclude(unverified)
        self._offer("dataset_version", versions)
        self._offer("templates", prompts)
        self._preselect_prompts(versions, prompts)
        self._offer("tuned_template", prompts)
        self._offer("backbone", models)
        self._offer("endpoints", models.filter(kind=BackboneKind.HOSTED))
        if waiting := [quoted(model.name) for model in known.filter(unverified)]:
            self.fields["backbone"].help_text += f" Not offered before a worker has verified it: {listed(waiting)}."
        self._offer("price_book", PriceBook.objects.filter(workspace=workspace))
        self.fields["price_book"].initial = PriceBook.objects.filter(workspace=workspace, effective_on__lte=timezone.now().date()).first()
        columns = sorted({column for version in versions for column in version.columns})
        self.offers_free_answers = any(version.task == Task.EXTRACTION for version in versions)
        self.fields["truncate_column"] = forms.ChoiceField(
            required=False, label="Column to cut", choices=[("", "–"), *((column, column) for column in columns)]
        )
        self._add_option_fields()
        self._add_start_fields(workspace)
        for kind in TAUGHT:
            self.fields[teacher_field_name(kind)] = teacher_field(workspace, prompts)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        version = values.get("dataset_version")
        if version and version.task == Task.EXTRACTION and not self.answers.is_valid():
            self.add_error(None, self.answers.sentences())
        return values

    def _offer(self, name: str, rows: Any) -> None:
        """Let a field choose among rows, the first one chosen where a choice is needed."""
        field: Any = self.fields[name]
        field.queryset = rows
        if field.required:
            field.initial = rows.first()

    def _preselect_prompts(self, versions: Any, prompts: Any) -> None:
        """Tick the newest version of each prompt that was written for the first data; without any, of those whose slots are its columns."""
        newest = versions.first()
        columns = set(newest.columns) if newest else set()
        fitting = [prompt for prompt in prompts if prompt.is_newest and columns.issuperset(columns_of(prompt))]
        own = [prompt for prompt in fitting if newest and prompt.template.dataset_id == newest.dataset_id]
        self.fields["templates"].initial = (own or fitting)[:MAX_PRESELECTED]

    def _add_option_fields(self) -> None:
        for kind in DIALLED:
            for option in kind.free_options:
                self.fields[f"{kind.key}-{option.name}"] = option_field(option)

    def prompt_boxes(self) -> list[PromptBoxes]:
        """The tick boxes of each prompt: its newest version, and its older ones."""
        prompts = {prompt.pk: prompt for prompt in self.fields["templates"].queryset}  # type: ignore[attr-defined]
        boxes: dict[Any, list[Any]] = {}
        for box in self["templates"]:
            boxes.setdefault(prompts[box.data["value"].value].template_id, []).append(box)
        return [PromptBoxes(newest, older) for newest, *older in boxes.values()]

    def _add_start_fields(self, workspace: Workspace) -> None:
        """Let each tuned approach start from a tuned prompt of the library that its method can take."""
        known = Artifact.objects.filter(run__approach__experiment__workspace=workspace, run__approach__experiment__curve_of=None)
        known = known.defer("manifest", "files")
        newest = list(known.select_related("run__approach__experiment", "run__approach__backbone").order_by("-created_at")[:MAX_STARTS])
        for kind in STARTABLE:
            methods = methods_to_start_from(kind.method)
            fitting = [artifact for artifact in newest if artifact.run.approach.method in methods]
            if fitting:
                self.fields[_start_field(kind)] = start_field(fitting)

    def recipe_boxes(self) -> list[tuple[RecipeKind, Any]]:
        """Each choosable line of the catalogue with its tick box."""
        return [(CATALOGUE[box.data["value"]], box) for box in self["recipes"]]

    def usual_boxes(self) -> list[tuple[RecipeKind, Any]]:
        """The approaches that nearly every comparison holds."""
        return [(kind, box) for kind, box in self.recipe_boxes() if kind.preselected]

    def further_groups(self) -> list[RecipeGroup]:
        """All others, by what they are."""
        others = [(kind, box) for kind, box in self.recipe_boxes() if not kind.preselected]
        return [RecipeGroup(title, hue, [each for each in others if each[0].hue == hue]) for hue, title in FURTHER.items()]

    def advanced(self) -> list[tuple[RecipeKind, Any, list[forms.BoundField], list[forms.BoundField]]]:
        """The dials of each approach that has any, those of its sweep apart, with its tick box; the usual approaches first."""
        boxes = {kind.key: box for kind, box in self.recipe_boxes()}
        return [
            (
                kind,
                boxes[kind.key],
                [self[name] for name in _dial_names(self, kind)],
                [self[name] for name in _sweep_names(kind)],
            )
            for kind in sorted(DIALLED, key=lambda kind: not kind.preselected)
        ]

    def changed_options(self) -> dict[str, dict[str, Any]]:
        """{recipe: {option: value}} of the fields that somebody filled in; an empty field keeps its default."""
        given: dict[str, dict[str, Any]] = {}
        for kind in DIALLED:
            filled = {option.name: self.cleaned_data.get(f"{kind.key}-{option.name}") for option in kind.free_options}
            given[kind.key] = {name: value for name, value in filled.items() if value not in (None, "")}
        return given

    def chosen_starts(self) -> dict[str, Artifact]:
        """The tuned prompts that somebody chose as a start, by recipe."""
        chosen = {kind.key: self.cleaned_data.get(_start_field(kind)) for kind in STARTABLE}
        known = Artifact.objects.select_related("run__approach__experiment", "run__approach__backbone").in_bulk(
            filter(None, chosen.values())
        )
        return {key: known[UUID(artifact_id)] for key, artifact_id in chosen.items() if artifact_id}

    def chosen_teachers(self) -> dict[str, Teacher]:
        """The teachers that somebody chose, by recipe."""
        chosen = {kind.key: chosen_teacher(self.cleaned_data.get(teacher_field_name(kind)) or "") for kind in TAUGHT}
        return {key: teacher for key, teacher in chosen.items() if teacher}

    def plan(self) -> ExperimentPlan:
        """The plan of a valid form.

        Raises:
            UserError: an approach is unknown.
        """
        chosen = self.cleaned_data
        start = self._start()
        choice = Choice(
            dataset_version=chosen["dataset_version"],
            recipes=chosen["recipes"],
            templates=list(chosen["templates"]),
            backbone=chosen["backbone"],
            tuned_template=start.template if start else None,
            options=self.changed_options(),
            endpoints=list(chosen["endpoints"]),
            starts=self.chosen_starts(),
            teachers=self.chosen_teachers(),
        )
        approaches, self.notes = approaches_expand(choice=choice)
        if start and start.reason and any(_learns_from_prompt(approach.kind) for approach in approaches):
            self.notes.append(start.sentence)
        if any(approach.teacher and approach.teacher.is_hosted for approach in approaches):
            self.notes.append(TERMS_WARNING)
        return ExperimentPlan(
            name=chosen["name"],
            dataset_version=chosen["dataset_version"],
            approaches=approaches,
            seeds=chosen["seeds"],
            configurations=chosen["configurations"] or 1,
            price_book=chosen["price_book"],
            too_long=chosen["too_long"],
            truncate_column=chosen["truncate_column"],
            monthly_requests=chosen["monthly_requests"],
            endpoint_requests=chosen["endpoint_requests"],
            endpoint_money=chosen["endpoint_money"],
            margin=chosen["margin"] / 100,
            open_test_when_finished=chosen["open_test_when_finished"],
            curve_when_finished=chosen["curve_when_finished"],
            generation=self.answers.plan() if chosen["dataset_version"].task == Task.EXTRACTION else GenerationPlan(),
        )

    def _start(self) -> StartPrompt | None:
        """The prompt that learning starts from: the one that a person chose, else the best that is known."""
        chosen = self.cleaned_data
        if chosen["tuned_template"]:
            return StartPrompt(chosen["tuned_template"])
        return start_prompt(chosen["dataset_version"], chosen["backbone"], list(chosen["templates"]))

    def refuse(self, error: UserError) -> None:
        """Show why the plan cannot be launched, a sentence a line."""
        for sentence in getattr(error, "problems", [str(error)]):
            self.add_error(None, sentence)


def launch_key(sent: QueryDict) -> str:
    """The key of what a form starts: the same for the same page with the same answers, however often they are sent."""
    answers = sorted((name, sorted(values)) for name, values in sent.lists() if name != "csrfmiddlewaretoken")
    return f"form:{hashlib.sha256(json.dumps(answers).encode()).hexdigest()}"


def prompt_versions(workspace: Workspace) -> Any:
    """Every version of each prompt of a workspace, by prompt name and newest first; `is_newest` marks the first of each."""
    newest = TemplateVersion.objects.filter(template=OuterRef("template")).order_by("-number").values("number")[:1]
    rows = TemplateVersion.objects.filter(template__workspace=workspace).annotate(is_newest=Q(number=Subquery(newest)))
    return rows.select_related("template__dataset").order_by("template__name", "template", "-number")


def _learns_from_prompt(kind: RecipeKind) -> bool:
    """Whether one prompt is its start, instead of each chosen prompt an approach."""
    return kind.demonstrations is None and kind.family != BASELINE


def _start_field(kind: RecipeKind) -> str:
    return f"{kind.key}-start-from"


def _dial_names(form: ComparisonForm, kind: RecipeKind) -> list[str]:
    """Names of the fields of an approach: its teacher, its start and its options, as far as it has them."""
    beside = [name for name in (teacher_field_name(kind), _start_field(kind)) if name in form.fields]
    return [*beside, *(f"{kind.key}-{option.name}" for option in kind.free_options if not option.sweep)]


def _sweep_names(kind: RecipeKind) -> list[str]:
    return [f"{kind.key}-{option.name}" for option in kind.free_options if option.sweep]
