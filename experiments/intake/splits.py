"""Which rows train, which choose and which test: read from a column, or drawn by label with a seed.

Knows labels, texts and split names; no Django. A draw does not depend on the order of the rows, and rows whose texts
are the same (see folding.py) always land in the same split, so a draw never leaks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from experiments.intake.folding import fingerprint, folded
from experiments.wording import listed, quoted

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
# Rows whose label nobody knows, or is to use. A person names them so; no draw, no share and no score ever does.
UNLABELLED = "unlabelled"
MEANINGS = (*SPLITS, UNLABELLED)
# A text must not stand in two of these places: what a later one judges was learned in an earlier one.
PLACES = {UNLABELLED: 0, TRAIN: 0, VALIDATION: 1, TEST: 2}

_SYNONYMS = {
    **dict.fromkeys(["train", "training", "trn", "tr", "fit"], TRAIN),
    **dict.fromkeys(["validation", "valid", "val", "dev", "development", "eval", "tune"], VALIDATION),
    **dict.fromkeys(["test", "testing", "tst", "holdout", "hold-out", "held-out", "heldout"], TEST),
}


class BadSplits(ValueError):
    """The shares or the column cannot give splits; the message is a sentence for a person."""


@dataclass(frozen=True)
class Shares:
    """The share of the rows for each split, from 0 to 1; together they make 1."""

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        shares = self.by_split.values()
        if not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise BadSplits("The shares of train, validation and test must each lie between 0 and 100% and make 100% together.")

    @property
    def by_split(self) -> dict[str, float]:
        """The shares by split name."""
        return {TRAIN: self.train, VALIDATION: self.validation, TEST: self.test}


@dataclass(frozen=True)
class SplitRow:
    """A row as the splitter sees it: the texts that make it the same as another row, and its label."""

    texts: tuple[str, ...]
    label: str


def split_suggest(values: Iterable[str]) -> dict[str, str | None]:
    """For each value of a column, the split that it probably names; None where nothing fits."""
    return {value: _SYNONYMS.get(folded(value)) for value in dict.fromkeys(values)}


def split_from_column(values: Sequence[str], meaning: Mapping[str, str | None]) -> list[str]:
    """The split of each row, read from a column.

    Args:
        values: the column's value for each row.
        meaning: value -> split, for example from `split_suggest` and corrected by a person.
    Raises:
        BadSplits: a value has no split.
    """
    unknown = [value for value in dict.fromkeys(values) if meaning.get(value) not in MEANINGS]
    if unknown:
        named = listed([quoted(value) if value.strip() else "an empty cell" for value in unknown])
        raise BadSplits(
            f"The split column holds {named}. Say for each value if it means train, validation or test, or that its rows have no label."
        )
    return [str(meaning[value]) for value in values]


def split_draw(rows: Sequence[SplitRow], *, shares: Shares, seed: int) -> list[str]:
    """A split for each row, each label in about the same shares.

    Rows with equal texts stay together. A label with at least as many different texts as there are splits appears in
    each of them. The same rows and seed give the same splits in any order of the rows.
    """
    keys = [fingerprint(row.texts) for row in rows]
    sizes = Counter(keys)
    wanted = {split: share for split, share in shares.by_split.items() if share > 0}
    # What one label's whole rows could not give exactly is owed to the next, so that the totals come out right.
    owed = dict.fromkeys(wanted, 0.0)
    chosen: dict[bytes, str] = {}
    for label, groups in sorted(_groups_by_label(rows, keys).items()):
        order = sorted(groups, key=lambda key: blake2b(key, key=_seed_key(seed, label), digest_size=16).digest())
        total = sum(sizes[key] for key in order)
        owed = {split: owed[split] + share * total for split, share in wanted.items()}
        first = list(wanted) if len(order) >= len(wanted) else []
        for key in order:
            split = first.pop() if first else max(owed, key=lambda name: owed[name])
            chosen[key] = split
            owed[split] -= sizes[key]
    return [chosen[key] for key in keys]


def split_complete(rows: Sequence[SplitRow], splits: Sequence[str], *, shares: Shares, seed: int) -> list[str]:
    """Splits with the missing ones drawn out of the train rows; an official test split stays as it is.

    Args:
        splits: the split of each row, from a column; often only train and test.
        shares: the part that each missing split takes of the train rows.
    """
    missing = [split for split in (VALIDATION, TEST) if split not in splits]
    drawn_from = [index for index, split in enumerate(splits) if split == TRAIN]
    if not missing or not drawn_from:
        return list(splits)
    taken = {split: shares.by_split[split] if split in missing else 0.0 for split in (VALIDATION, TEST)}
    drawn = split_draw([rows[index] for index in drawn_from], shares=Shares(1 - sum(taken.values()), **taken), seed=seed)
    completed = list(splits)
    for index, split in zip(drawn_from, drawn, strict=True):
        completed[index] = split
    return completed


def _groups_by_label(rows: Sequence[SplitRow], keys: Sequence[bytes]) -> dict[str, list[bytes]]:
    """The distinct texts of each label; a text with several labels counts for its most frequent one."""
    labels: dict[bytes, Counter[str]] = defaultdict(Counter)
    for row, key in zip(rows, keys, strict=True):
        labels[key][row.label] += 1
    groups: dict[str, list[bytes]] = defaultdict(list)
    for key, counts in labels.items():
        groups[min(counts, key=lambda label: (-counts[label], label))].append(key)
    return groups


def _seed_key(seed: int, label: str) -> bytes:
    return blake2b(f"{seed}\x1f{label}".encode("utf-8", "surrogatepass"), digest_size=32).digest()
