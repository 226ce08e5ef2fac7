"""When two texts count as the same text: equal after Unicode composition, case and white space are folded.

The gate finds duplicates by it and the splitter keeps them together, so that both mean the same thing.
"""

from collections.abc import Iterable
from hashlib import blake2b
from unicodedata import normalize


def folded(text: str) -> str:
    """The text in one case, with each run of white space as one space and none at the ends."""
    composed = text if text.isascii() else normalize("NFKC", text)
    return " ".join(composed.casefold().split())


def fingerprint(texts: Iterable[str]) -> bytes:
    """16 bytes that are equal for rows whose texts fold to the same; short, so that 200,000 rows fit in memory."""
    joined = "\x1f".join(folded(text) for text in texts)
    # Lone surrogates are refused at parsing; "surrogatepass" keeps this total for text typed elsewhere.
    return blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()
