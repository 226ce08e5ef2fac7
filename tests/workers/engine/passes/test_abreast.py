import time

import pytest
import torch

from workers.engine.passes.abreast import run_abreast

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_batch_is_done_once_and_handed_back_with_what_was_found(two_threads):
    found = {}

    abreast = run_abreast(lambda batch: batch * 10, [3, 2, 1], CPU, found.__setitem__)

    assert (found, abreast) == ({3: 30, 2: 20, 1: 10}, 2)


def test_batches_share_the_threads_and_the_caller_keeps_its_own(two_threads):
    found = {}

    run_abreast(lambda batch: (torch.get_num_threads(), torch.is_inference_mode_enabled()), [1, 2, 3, 4], CPU, found.__setitem__)

    assert set(found.values()) == {(1, True)}
    assert torch.get_num_threads() == 2


def test_no_batch_begins_after_a_stop(two_threads):
    begun = []

    def work(batch):
        begun.append(batch)
        time.sleep(0.01)

    def stop(batch, found):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_abreast(work, list(range(200)), CPU, stop)

    at_the_stop = len(begun)
    assert at_the_stop < 200
    run_abreast(lambda batch: batch, [1, 2], CPU, lambda batch, found: None)
    assert len(begun) == at_the_stop


def test_a_fault_in_a_batch_reaches_the_caller(two_threads):
    def fail(batch):
        raise MemoryError

    with pytest.raises(MemoryError):
        run_abreast(fail, [1, 2, 3], CPU, lambda batch, found: None)
