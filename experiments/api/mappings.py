"""What a caller says about the columns of a file, and the mapping that it means."""

from typing import Annotated, Any

from ninja import Field, Schema

from experiments.api.fields import Seed, ShortText
from experiments.errors import UserError
from experiments.intake.mapping import ColumnMapping, Task
from experiments.intake.parsing import ParseReport
from experiments.intake.splits import BadSplits, Shares, split_suggest
from experiments.models import DatasetVersion

Share = Annotated[float, Field(ge=0, le=1)]


class SharesIn(Schema):
    train: Share = 0.7
    validation: Share = 0.15
    test: Share = 0.15


class MappingIn(Schema):
    """Without `split_column` the rows are divided by `shares` with `seed`, keeping the labels' proportions.

    `keep_unlabelled` keeps rows without a label for teachers to answer; they stand in no split that trains, chooses or tests.
    """

    text_columns: list[ShortText] = Field(min_length=1, max_length=50)
    label_column: ShortText
    task: Task = "classification"
    split_column: ShortText | None = None
    split_meaning: dict[str, ShortText] = Field(
        {}, description="Value of the split column to train, validation, test or unlabelled; names of the first three are understood."
    )
    shares: SharesIn = SharesIn()
    seed: Seed = 0
    leave_out_leaks: bool = True
    leave_out_empty: bool = False
    keep_unlabelled: bool = Field(False, description="Keep rows without a label as unlabelled rows, whatever `split_column` says of them.")


def mapping_of(payload: MappingIn, version: DatasetVersion) -> ColumnMapping:
    """The mapping that a request means, for a file that has been read.

    Raises:
        UserError: the shares do not make 100 %.
    """
    said: dict[str, Any] = payload.model_dump(exclude={"shares", "split_meaning", "text_columns"})
    try:
        shares = Shares(**payload.shares.model_dump())
    except BadSplits as error:
        raise UserError(str(error)) from error
    meaning = {**_suggested(payload, version), **payload.split_meaning}
    return ColumnMapping(text_columns=tuple(payload.text_columns), split_meaning=meaning, shares=shares, **said)


def _suggested(payload: MappingIn, version: DatasetVersion) -> dict[str, str]:
    """What the values of the split column probably mean; the caller's own words win."""
    if not payload.split_column or not version.parsed_sha256:
        return {}
    columns = ParseReport.from_json(version.parse_report).columns
    values = next((column.values for column in columns if column.name == payload.split_column), None)
    return {value: split for value, split in split_suggest(values or {}).items() if split}
