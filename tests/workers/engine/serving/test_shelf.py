"""What was used last stays, within the bytes that are allowed."""

from workers.engine.serving.shelf import Shelf


def test_the_longest_unused_makes_room():
    shelf = Shelf[str](10)
    shelf.put("a", "A", 4)
    shelf.put("b", "B", 4)
    shelf.get("a")

    shelf.put("c", "C", 5)

    assert shelf.names() == ("a", "c")
    assert shelf.num_bytes == 9
    assert shelf.get("b") is None


def test_a_name_laid_down_again_counts_once():
    shelf = Shelf[str](10)
    shelf.put("a", "A", 8)

    shelf.put("a", "B", 6)

    assert (shelf.get("a"), shelf.num_bytes) == ("B", 6)
