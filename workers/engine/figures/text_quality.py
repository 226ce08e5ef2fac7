"""How close a free answer is to its reference, one row at a time. Pure; no torch, no files.

Every figure lies between 0 and 1. Token F1 follows SQuAD to the letter; exact match is stricter where numbers are concerned.
"""

import json
import re
from collections import Counter
from functools import cache
from typing import Any

from rapidfuzz.distance import LCSseq

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")  # the ASCII punctuation that SQuAD's script removes
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"\.?\d")
_WORDS = re.compile(r"[^\W_]+")


def exact_match(text: str, expected: str) -> bool:
    """Equal after lower-casing and removal of punctuation, English articles and doubled spaces.

    Unlike SQuAD's script this keeps punctuation that belongs to a number (1.5 is not 15, -5 is not 5), compares as written where
    normalisation leaves nothing, and wants of a reference that is a JSON object or list the same keys and values, texts by this rule.

    Source: Rajpurkar et al. 2016, SQuAD, section 6, with the three exceptions above.
    """
    try:
        asked = _json_of(expected)
        return _same_text(text, expected) if asked is None else _same_value(_json_of(text), asked)
    except RecursionError:  # nested deeper than Python goes
        return text.strip() == expected.strip()


def _same_text(text: str, expected: str) -> bool:
    left, right = _normalised(text, keep_numbers=True), _normalised(expected, keep_numbers=True)
    if not (left or right):
        return text.strip() == expected.strip()
    return left == right


def token_f1(text: str, expected: str) -> float:
    """Harmonic mean of the shares of words that answer and reference have in common.

    Source: Rajpurkar et al. 2016, SQuAD, section 6; normalisation of its evaluation script 1.1.
    """
    left, right = _normalised(text).split(), _normalised(expected).split()
    shared = sum((Counter(left) & Counter(right)).values())
    if not shared:
        return float(left == right and text.strip() == expected.strip())
    return 2 * shared / (len(left) + len(right))


def rouge_l(text: str, expected: str) -> float:
    """F1 of the longest common subsequence of words; words are runs of letters and digits of any script, lower-cased.

    Source: Lin 2004, ROUGE, section 3.1 with beta 1; on ASCII equal to the package rouge-score without stemming.
    """
    left, right = _WORDS.findall(text.lower()), _WORDS.findall(expected.lower())
    if not left or not right:
        return 0.0
    return 2 * LCSseq.similarity(left, right) / (len(left) + len(right))


def chrf(text: str, expected: str) -> float:
    """Character n-gram F-score (n to 6, beta 2) of one answer, as sacrebleu's sentence score, divided by 100.

    Source: Popović 2015, chrF; Post 2018, sacrebleu.
    """
    return float(_chrf().sentence_score(text, [expected]).score) / 100


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF  # slow to import, and classifications have no use for it

    return CHRF()


def _normalised(text: str, *, keep_numbers: bool = False) -> str:
    """SQuAD's normalisation; with `keep_numbers`, signs and separators inside numbers stay."""
    plain = _PUNCTUATION.sub(_unless_numeric if keep_numbers else "", text.lower())
    return " ".join(_ARTICLES.sub(" ", plain).split())


def _unless_numeric(mark: re.Match[str]) -> str:
    text, at = mark.string, mark.start()
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    separates = mark[0] in ".,:/-" and before.isdigit() and after.isdigit()
    begins = mark[0] in "+-." and bool(_NUMBER.match(text, at + 1)) and not before.isalnum() and before != "."
    return mark[0] if separates or begins else ""


def _json_of(text: str) -> Any:
    """The object or list that a text is; None where it is anything else."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, parse_constant=str)  # NaN equals itself as a text, not as a number
    except ValueError:
        return None


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_value(one[key], other[key]) for key in other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return _same_text(one, other)
    if isinstance(one, bool) or isinstance(other, bool):  # Python takes true for 1
        return one is other
    return bool(one == other)
