"""Keeps what people and data write from being read as control tokens, where a chat template's own control tokens have to be read.

Before the template is applied, every spelled control token is replaced by a character that no tokenizer knows; afterwards the
spellings come back, and where they stand the tokenizer's control ids are exchanged for the ids of their letters.
"""

import re
from typing import Any

# The last private-use plane: no writing system and no control token uses it.
_FIRST_MARK = 0x100000


class ControlTokens:
    """The control tokens of one tokenizer.

    Args:
        tokenizer: a fast tokenizer of the transformers library.
        active: False leaves every text as it is, for prompts that are encoded without any control token.
    """

    def __init__(self, tokenizer: Any, *, active: bool) -> None:
        self._tokenizer = tokenizer
        spellings = sorted({token.content for token in tokenizer.added_tokens_decoder.values() if token.special}, key=len, reverse=True)
        self._spellings = [spelling for spelling in spellings if spelling] if active else []
        self._spelled = re.compile("|".join(map(re.escape, self._spellings)) or r"(?!)")
        self._marked = re.compile(f"[{chr(_FIRST_MARK)}-{chr(_FIRST_MARK + len(self._spellings))}]" if self._spellings else r"(?!)")

    def hide(self, text: str) -> str:
        """The text with a mark in place of each spelled control token."""
        return self._spelled.sub(lambda found: chr(_FIRST_MARK + self._spellings.index(found.group())), text)

    def show(self, text: str) -> str:
        """The text as it was written."""
        return self._marked.sub(lambda mark: self._spelling(mark.group()), text)

    def is_hidden_in(self, text: str) -> bool:
        """Whether the text holds a mark."""
        return self._marked.search(text) is not None

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered prompt with marks: the template's control tokens are read, the marked ones are spelled out."""
        written, spans = self._written(text)
        encoded = self._tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = []
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            inside = next((spelling for place, spelling in spans if start <= place < end and end - start >= len(spelling)), None)
            ids += self._letters(inside) if inside else [token]
        return ids

    def _written(self, text: str) -> tuple[str, list[tuple[int, str]]]:
        """The text as it was written, and where in it the spellings begin."""
        parts: list[str] = []
        spans: list[tuple[int, str]] = []
        length = at = 0
        for mark in self._marked.finditer(text):
            parts += [text[at : mark.start()], self._spelling(mark.group())]
            length += mark.start() - at
            spans.append((length, parts[-1]))
            length, at = length + len(parts[-1]), mark.end()
        return "".join([*parts, text[at:]]), spans

    def _spelling(self, mark: str) -> str:
        place = ord(mark) - _FIRST_MARK
        return self._spellings[place] if place < len(self._spellings) else mark

    def _letters(self, spelling: str) -> list[int]:
        return list(self._tokenizer(spelling, add_special_tokens=False, split_special_tokens=True)["input_ids"])
