"""Token ids of texts that a warm host has encoded before. Knows nothing of prompts or models.

The seeds of an approach, the approaches on one prompt and their evaluations encode the very same texts one after the other.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence

_FEWEST_TEXTS = 256
_MOST_TOKENS = 4_000_000  # of one list, 16 MB
_MOST_LISTS = 4


class EncodedBefore:
    """The ids of the last few long lists of texts, for one tokenizer."""

    def __init__(self) -> None:
        self._kept: dict[bytes, list[array[int]]] = {}

    def ids_of(self, texts: Sequence[str], way: str, encode: Callable[[Sequence[str]], list[list[int]]]) -> list[list[int]]:
        """The ids of every text.

        Args:
            texts: as `encode` takes them.
            way: names how texts are read, where one tokenizer reads them in several ways.
            encode: asked when this list has not been encoded lately.
        """
        if len(texts) < _FEWEST_TEXTS:
            return encode(texts)
        key = _digest(texts, way)
        known = self._kept.pop(key, None)
        if known is None:
            found = encode(texts)
            if sum(map(len, found)) > _MOST_TOKENS:
                return found
            known = [array("i", ids) for ids in found]
        self._kept[key] = known  # the last in line to be forgotten
        if len(self._kept) > _MOST_LISTS:
            del self._kept[next(iter(self._kept))]
        return [ids.tolist() for ids in known]


def _digest(texts: Sequence[str], way: str) -> bytes:
    digest = hashlib.sha256(way.encode())
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.digest()
