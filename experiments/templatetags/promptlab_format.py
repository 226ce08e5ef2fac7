"""Formatting for templates: percent, interval, count, duration, money, time. No queries, no arithmetic beyond a unit.

A value that is missing becomes a dash; a missing amount of money becomes "unknown", never 0.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite, log10
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from experiments.wording import counted as counted_noun
from experiments.wording import currency_sign

register = template.Library()

MISSING = "–"
MINUS = "−"
# Before a letter, so that numbers stay whole; browsers break at spaces and hyphens by themselves.
BREAKS = re.compile(r"(?<=\w[_./:;,|\\+=&])(?=[^\W\d_])")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


@register.filter
def breakable(text: Any) -> SafeString:
    """A name that may go on in the next line after its own separators: "card_payment" never ends a line with "card_paym"."""
    *parts, last = BREAKS.split(str(text))
    return format_html("{}{}", format_html_join("", "{}<wbr>", ((part,) for part in parts)), last)


@register.filter
def percent(value: Any, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage: 0.873 is "87.3%"."""
    number = _number(value)
    return MISSING if number is None else f"{number * 100:.{digits}f}%"


@register.filter
def seeds_between(spread: Mapping[str, Any]) -> str:
    """What the seeds of an approach scored: "2 seeds from 97.8% to 98.9%", or "2 seeds, both 98.9%" where they agree as shown."""
    lowest, highest, seeds = percent(spread["lowest"]), percent(spread["highest"]), counted_noun(spread["num_seeds"], "seed")
    if lowest == highest:
        return f"{seeds}, {'both' if spread['num_seeds'] == 2 else 'all'} {highest}"
    return f"{seeds} from {lowest} to {highest}"


@register.filter
def interval(value: Any, digits: int = 1) -> str:
    """A pair of shares as a range: (0.841, 0.882) is "84.1–88.2%"."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return MISSING
    low, high = _number(value[0]), _number(value[1])
    return MISSING if low is None or high is None else f"{low * 100:.{digits}f}–{high * 100:.{digits}f}%"


@register.filter
def signed_points(value: Any, digits: int = 1) -> str:
    """A difference of shares in points, with its sign: 0.0213 is "+2.1 points"."""
    number = _number(value)
    if number is None:
        return MISSING
    points = round(number * 100, digits)
    sign = "±" if points == 0 else "+" if points > 0 else MINUS
    return f"{sign}{abs(points):.{digits}f} {'point' if abs(points) == 1 else 'points'}"


@register.filter
def signed_decimals(value: Any, digits: int = 2) -> str:
    """A difference with its sign: -0.0213 with 3 digits is "−0.021"."""
    number = _number(value)
    if number is None:
        return MISSING
    rounded = round(number, digits)
    sign = "±" if rounded == 0 else "+" if rounded > 0 else MINUS
    return f"{sign}{abs(rounded):.{digits}f}"


@register.filter
def delta_class(value: Any, better: str = "higher") -> str:
    """The CSS class of a difference: delta-better, delta-worse or delta-same; `better` is "higher" or "lower"."""
    number = _number(value)
    if not number:
        return "delta-same"
    return "delta-better" if (number > 0) == (better == "higher") else "delta-worse"


@register.filter
def count(value: Any) -> str:
    """A whole number with thousands marked: "1,204"."""
    number = _number(value)
    return MISSING if number is None else f"{round(number):,}"


@register.filter
def counted(value: Any, noun: str) -> str:
    """A number with its noun: "1 row", "1,204 rows"; an irregular plural stands after a comma ("category,categories")."""
    number = _number(value)
    singular, _, plural = noun.partition(",")
    return MISSING if number is None else counted_noun(round(number), singular, plural)


@register.filter
def decimals(value: Any, digits: int = 3) -> str:
    """A number with a fixed number of decimals."""
    number = _number(value)
    return MISSING if number is None else f"{number:,.{digits}f}".replace("-", MINUS)


@register.filter
def setting(value: Any) -> str:
    """The value of a dial; a fraction has three significant digits, for a third of a step size would fill the line."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


@register.filter
def rule_name(value: str) -> str:
    """How a scoring rule reads on a page."""
    return {"sum": "by probability", "mean": "by mean per token", "prior_corrected": "prior-corrected"}.get(value, value)


@register.filter
def compact(value: Any) -> str:
    """A large count in short: 66,362,880 is "66.4 M"."""
    number = _number(value)
    if number is None:
        return MISSING
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.1f} {unit}"
    return f"{round(number):,}"


@register.filter
def duration(value: Any) -> str:
    """Seconds in the unit that reads best: "85 ms", "3.2 s", "4 min 05 s", "1 h 02 min"."""
    seconds = _number(value)
    if seconds is None or seconds < 0:
        return MISSING
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@register.filter
def milliseconds(value: Any) -> str:
    """A time of one request: "14 ms", "0.4 ms", "< 0.1 ms"; a measured time never reads as nothing."""
    number = _number(value)
    if number is None:
        return MISSING
    return "< 0.1 ms" if number < 0.1 else f"{number:.1f} ms" if number < 10 else f"{number:,.0f} ms"


@register.filter(name="bytes")
def file_size(value: Any) -> str:
    """A number of bytes in the unit that reads best: "812 B", "1.4 MB"."""
    number = _number(value)
    if number is None:
        return MISSING
    for unit in ("B", "kB", "MB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GB"


@register.filter
def money(value: Any, currency: str = "USD") -> str:
    """An amount with its currency, parts of a cent with three significant digits; a missing one is "unknown"."""
    if value is None or value == "":
        return "unknown"
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return "unknown"
    if not amount.is_finite():
        return "unknown"
    size = abs(amount)
    digits = 2 if size >= 1 or size == round(size, 2) else min(2 - int(log10(size) // 1), 8)
    return f"{MINUS if amount < 0 else ''}{currency_sign(currency)}{size:,.{digits}f}"


@register.filter
def as_slot(column: str) -> str:
    """A column's name as it is written in a prompt: {{column}}."""
    return f"{{{{{column}}}}}"


@register.filter
def when(value: datetime | None) -> SafeString | str:
    """A moment as <time>, which the page's script shows in the viewer's zone; without script it reads as UTC."""
    if value is None:
        return MISSING
    moment = value.astimezone(UTC)
    return format_html('<time datetime="{}" data-when>{} UTC</time>', moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M"))


@register.filter
def ago(value: datetime | None) -> SafeString | str:
    """How long ago a moment was, as <time>: "3 minutes ago"."""
    if value is None:
        return MISSING
    moment = value.astimezone(UTC)
    return format_html('<time datetime="{}" data-ago>{}</time>', moment.isoformat(), elapsed((datetime.now(UTC) - moment).total_seconds()))


def elapsed(seconds: float) -> str:
    """Seconds since a moment, in words."""
    if seconds < 45:
        return "just now"
    for unit, size, most in (("minute", 60, 60), ("hour", 3600, 24), ("day", 86_400, 30), ("month", 2_629_800, 12)):
        number = max(round(seconds / size), 1)
        if number < most:
            return f"{counted_noun(number, unit)} ago"
    return f"{counted_noun(max(round(seconds / 31_557_600), 1), 'year')} ago"
