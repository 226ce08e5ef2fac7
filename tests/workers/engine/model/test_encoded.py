from workers.engine.model.encoded import EncodedBefore

TEXTS = [f"row {number} \ud800" for number in range(300)]


class Tokenizer:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, texts):
        self.asked += 1
        return [[ord(letter) for letter in text] for text in texts]


def test_the_same_texts_are_encoded_once_and_found_equal():
    tokenizer, before = Tokenizer(), EncodedBefore()

    first = before.ids_of(TEXTS, "plain", tokenizer)
    first[0].clear()
    second = before.ids_of(TEXTS, "plain", tokenizer)

    assert second == Tokenizer()(TEXTS)
    assert tokenizer.asked == 1


def test_other_texts_another_way_and_other_borders_are_encoded_anew():
    tokenizer, before = Tokenizer(), EncodedBefore()
    glued = ["".join(TEXTS[:2]), *TEXTS[2:], ""]

    for texts, way in ((TEXTS, "plain"), (TEXTS, "chat"), (TEXTS[1:], "plain"), (glued, "plain")):
        assert before.ids_of(texts, way, tokenizer) == Tokenizer()(texts)

    assert tokenizer.asked == 4


def test_only_the_last_lists_are_kept():
    tokenizer, before = Tokenizer(), EncodedBefore()

    for start in (*range(6), 5, 0):
        before.ids_of(TEXTS[start:], "plain", tokenizer)

    assert tokenizer.asked == 7


def test_a_short_list_is_not_kept():
    tokenizer, before = Tokenizer(), EncodedBefore()

    before.ids_of(TEXTS[:5], "plain", tokenizer)
    before.ids_of(TEXTS[:5], "plain", tokenizer)

    assert tokenizer.asked == 2
