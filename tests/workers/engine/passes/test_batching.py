"""Batches that run side by side are of one size, so that no thread waits for another at the end."""

import random

import pytest

from workers.engine.passes.batching import buckets, even_buckets


def tokens(groups, lengths, extra=0):
    """Tokens of each batch, pads included."""
    return [len(group) * (max(lengths[index] for index in group) + extra) for group in groups]


@pytest.mark.parametrize("rows", [5, 32, 128, 200])
@pytest.mark.parametrize("threads", [2, 4])
def test_every_thread_gets_as_many_batches_of_about_one_size(rows, threads):
    lengths = [random.Random(rows).randint(24, 30) for _ in range(rows)]

    groups = even_buckets(lengths, 2, 512, 512, threads)

    assert sorted(index for group in groups for index in group) == list(range(rows))
    assert max(tokens(groups, lengths, 2)) <= 512
    if rows >= 32:
        assert len(groups) % threads == 0
        assert min(tokens(groups, lengths, 2)) > 0.7 * max(tokens(groups, lengths, 2))


def test_the_usual_batches_leave_one_thread_with_less():
    lengths = [27] * 32

    assert tokens(buckets(lengths, 0, 512, 512), lengths) == [486, 378]
    assert tokens(even_buckets(lengths, 0, 512, 512, 2), lengths) == [432, 432]


def test_few_rows_are_not_cut_into_batches_too_small_for_a_thread():
    assert even_buckets([20, 20, 20], 0, 512, 512, 2) == [[0, 1, 2]]
    assert len(even_buckets([70, 70], 0, 512, 512, 2)) == 2


def test_one_thread_gets_no_more_batches_than_its_rows_need():
    lengths = [40] * 30

    assert len(even_buckets(lengths, 0, 512, 512, 1)) == len(list(buckets(lengths, 0, 512, 512)))


def test_a_row_longer_than_a_batch_has_one_to_itself():
    groups = even_buckets([600, 30, 30], 0, 512, 512, 2)

    assert [0] in groups
    assert sorted(index for group in groups for index in group) == [0, 1, 2]
