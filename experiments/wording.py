"""How numbers, counts and people's own values stand inside a sentence. Knows text only; no Django."""

from collections.abc import Iterable, Sequence

CURRENCY_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def quoted(value: str, *, limit: int = 60) -> str:
    """A person's value in quotation marks, on one line and cut to `limit` characters."""
    line = " ".join(value[: limit * 4].split())
    return f"“{line[:limit]}…”" if len(line) > limit else f"“{line}”"


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: "1 row", "1,204 rows"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def currency_sign(currency: str) -> str:
    """What stands before an amount: "$", or "CHF " where a currency has no sign here."""
    return CURRENCY_SIGNS.get(currency, f"{currency} ")


def lasting(seconds: float) -> str:
    """A time that is only roughly known: "40 seconds", "12 minutes", "2.5 hours"."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    minutes = round(seconds / 60)
    return counted(minutes, "minute") if minutes < 120 else f"{seconds / 3600:.1f} hours"


def listed(values: Iterable[str], *, most: int = 5, last: str = "and") -> str:
    """Values in a row of words: "a, b and c", or "a, b and 7 more"; `last` stands before the last one."""
    words = list(values)
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1:,} more"]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def rows_named(numbers: Sequence[int], *, total: int, most: int = 5) -> str:
    """Row numbers as a sentence opens with them: "Row 1,204" or "Rows 3, 7, 9 and 12 more"."""
    if total == 1:
        return f"Row {numbers[0]:,}"
    shown = [f"{number:,}" for number in numbers[:most]]
    rest = total - len(shown)
    return "Rows " + (f"{', '.join(shown)} and {rest:,} more" if rest else listed(shown))
