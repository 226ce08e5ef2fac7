"""What people type about data: a file and its name, what its columns mean, which rows to look at. Writes nothing."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from django import forms
from django.http import QueryDict

from experiments.intake.mapping import MAX_SEED, MAX_SPLIT_VALUES, BadMapping, ColumnMapping, mapping_check
from experiments.intake.parsing import ColumnFacts, ParseReport
from experiments.intake.splits import MEANINGS, SPLITS, UNLABELLED, BadSplits, Shares, split_suggest
from experiments.wording import counted

TEXT, LABEL, SPLIT, IGNORE = "text", "label", "split", "ignore"
ROLES = [(TEXT, "Text"), (LABEL, "Label or reference"), (SPLIT, "Split"), (IGNORE, "Not used")]
SPLIT_CHOICES = [("", "Choose…"), *[(split, split.capitalize()) for split in MEANINGS]]
FILE_TYPES = ".csv,.tsv,.txt,.jsonl,.ndjson,.json,.xlsx,.parquet"
SAMPLES = 3


class UploadForm(forms.Form):
    """One file for a new version."""

    file = forms.FileField(
        label="File",
        max_length=1_000,
        allow_empty_file=True,  # the service's sentence is the better one
        widget=forms.FileInput(attrs={"accept": FILE_TYPES}),
        error_messages={"required": "Choose a file.", "missing": "Choose a file.", "invalid": "The file did not arrive. Choose it again."},
    )


class DatasetForm(forms.Form):
    """What is said about data."""

    name = forms.CharField(max_length=120, label="Name")
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}), max_length=5_000)
    attribution = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        max_length=2_000,
        label="Source and licence",
        help_text="Shown on reports, so that readers know where the rows come from.",
    )


class NewDatasetForm(UploadForm):
    """A file with a name of its own; without one, the file's name serves."""

    name = forms.CharField(max_length=120, required=False, label="Name", help_text="Left empty, it takes the file's name.")
    attribution = DatasetForm.base_fields["attribution"]
    field_order = ["file", "name", "attribution"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        file = values.get("file")
        if file is not None and not values.get("name"):
            values["name"] = PurePath(file.name or "").stem.replace("_", " ").strip()[:120] or "Data"
        return values


class MappingForm(forms.Form):
    """What each column means and how the rows are divided. `mapping` holds the answer of a valid form."""

    task = forms.ChoiceField(
        choices=[
            ("classification", "Choose one of a few labels for each row"),
            ("extraction", "Take a short answer out of each row’s text"),
        ],
        widget=forms.RadioSelect,
        label="What should the model do?",
    )
    train = forms.IntegerField(min_value=0, max_value=100, label="Train, %")
    validation = forms.IntegerField(min_value=0, max_value=100, label="Validation, %")
    test = forms.IntegerField(min_value=0, max_value=100, label="Test, %")
    seed = forms.IntegerField(min_value=0, max_value=MAX_SEED, label="Seed")
    leave_out_leaks = forms.BooleanField(
        required=False,
        label="Leave out rows of train and validation whose text is also in test",
        help_text="Without this, the comparison would look better than it is. Unlabelled rows are left out for the same reason.",
    )
    keep_unlabelled = forms.BooleanField(
        required=False,
        label="Keep rows without a label as unlabelled rows",
        help_text="A teacher can answer them, so that a distilled prompt learns from more rows than have a label. They are drawn into no "
        "split, whatever a split column says, shown in no prompt and counted in no score.",
    )
    leave_out_empty = forms.BooleanField(
        required=False, label="Leave out rows without a text or a label", help_text="Otherwise such a row stops the import and is named."
    )

    def __init__(self, data: QueryDict | None = None, *, report: ParseReport, suggested: ColumnMapping) -> None:
        super().__init__(data, initial=_initial(suggested))
        self.report = report
        self.mapping: ColumnMapping | None = None
        for index, column in enumerate(report.columns):
            self.fields[f"role-{index}"] = forms.ChoiceField(
                choices=ROLES, initial=_role(column.name, suggested), label=f"Use {column.name} as"
            )
        self.split_column = self._chosen(SPLIT)
        self.split_values = list(self.split_column.values or {})[:MAX_SPLIT_VALUES] if self.split_column else []
        known = {**split_suggest(self.split_values), **suggested.split_meaning}
        for index, value in enumerate(self.split_values):
            self.fields[f"meaning-{index}"] = forms.ChoiceField(
                choices=SPLIT_CHOICES, initial=known.get(value) or "", required=False, label=f"{value or 'empty cell'} means"
            )
        self._fill_meanings()

    def columns(self) -> Iterator[tuple[ColumnFacts, str, list[str], forms.BoundField]]:
        """Each column with its facts in words, its first values and its field."""
        for index, column in enumerate(self.report.columns):
            first = column.values or dict.fromkeys(cells[index] for _, cells in self.report.preview)
            samples = [value for value in first if value.strip()][:SAMPLES]
            yield column, _facts(column), samples, self[f"role-{index}"]

    def meanings(self) -> Iterator[tuple[str, int, forms.BoundField]]:
        """Each value of the split column with its number of rows and its field."""
        for index, value in enumerate(self.split_values):
            yield value, (self.split_column.values or {})[value] if self.split_column else 0, self[f"meaning-{index}"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors:
            try:
                self.mapping = self._mapping(values)
                mapping_check(self.mapping, self.report)
            except (BadMapping, BadSplits) as error:
                self.add_error(None, str(error))
        return values

    def _mapping(self, values: dict[str, Any]) -> ColumnMapping:
        roles = {column.name: values[f"role-{index}"] for index, column in enumerate(self.report.columns)}
        labels = [name for name, role in roles.items() if role == LABEL]
        splits = [name for name, role in roles.items() if role == SPLIT]
        if len(labels) > 1 or len(splits) > 1:
            raise BadMapping("Only one column can be the label, and only one the split. Set the others to text or not used.")
        return ColumnMapping(
            text_columns=tuple(name for name, role in roles.items() if role == TEXT),
            label_column=labels[0] if labels else "",
            task=values["task"],
            split_column=splits[0] if splits else None,
            split_meaning=self._meaning(values),
            shares=Shares(values["train"] / 100, values["validation"] / 100, values["test"] / 100),
            seed=values["seed"],
            leave_out_leaks=values["leave_out_leaks"],
            leave_out_empty=values["leave_out_empty"],
            keep_unlabelled=values["keep_unlabelled"],
        )

    def _meaning(self, values: dict[str, Any]) -> dict[str, str]:
        suggested = split_suggest(self.split_values)
        said = {value: values.get(f"meaning-{index}") or suggested[value] for index, value in enumerate(self.split_values)}
        return {value: split for value, split in said.items() if split}

    def _fill_meanings(self) -> None:
        """A column that was given the role just now has no meanings in what was sent: the suggestion stands in."""
        if self.is_bound:
            suggested = {name: field.initial for name, field in self.fields.items() if name.startswith("meaning-")}
            self.data = {**suggested, **{name: self.data[name] for name in self.data}}

    def _chosen(self, role: str) -> ColumnFacts | None:
        """The first column that has the role, in what was sent or else in what is suggested."""
        for index, column in enumerate(self.report.columns):
            name = self.add_prefix(f"role-{index}")
            if (self.data.get(name) if self.is_bound else self.fields[f"role-{index}"].initial) == role:
                return column
        return None


class RowFilterForm(forms.Form):
    """Which rows to look at; an unknown value shows everything."""

    split = forms.ChoiceField(required=False)
    label = forms.ChoiceField(required=False)
    finding = forms.ChoiceField(required=False)
    q = forms.CharField(required=False, label="Search the texts", max_length=200, widget=forms.TextInput(attrs={"type": "search"}))

    def __init__(
        self, *args: Any, labels: list[str], findings: Mapping[str, str] | None = None, has_unlabelled: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        splits = [*SPLITS, UNLABELLED] if has_unlabelled else SPLITS
        self.fields["split"].choices = [("", "All splits"), *[(split, split.capitalize()) for split in splits]]  # type: ignore[attr-defined]
        self._offer("label", "All labels", {label: label for label in labels})
        self._offer("finding", "All rows", findings or {})

    def _offer(self, name: str, everything: str, choices: Mapping[str, str]) -> None:
        """Fill a field's choices; one that has none is not asked for."""
        if choices:
            self.fields[name].choices = [("", everything), *choices.items()]  # type: ignore[attr-defined]
        else:
            del self.fields[name]

    def chosen(self) -> dict[str, str]:
        """The filters that were understood."""
        self.is_valid()
        values = getattr(self, "cleaned_data", {})
        names = {"split": "split", "label": "label", "query": "q", "finding": "finding"}
        return {filter: values.get(name, "") for filter, name in names.items()}


def _initial(mapping: ColumnMapping) -> dict[str, Any]:
    shares = {split: round(share * 100) for split, share in mapping.shares.by_split.items()}
    return {
        "task": mapping.task,
        **shares,
        "seed": mapping.seed,
        "leave_out_leaks": mapping.leave_out_leaks,
        "leave_out_empty": mapping.leave_out_empty,
        "keep_unlabelled": mapping.keep_unlabelled,
    }


def _role(name: str, mapping: ColumnMapping) -> str:
    if name in mapping.text_columns:
        return TEXT
    return {mapping.label_column: LABEL, mapping.split_column: SPLIT}.get(name, IGNORE)


def _facts(column: ColumnFacts) -> str:
    values = None if column.values is None else [value for value in column.values if value.strip()]
    facts = ["many different values" if values is None else counted(len(values), "different value")]
    if column.num_empty:
        facts.append(f"{column.num_empty:,} empty")
    return ", ".join(facts)
