"""Missing and dying processes are said in a sentence, by real processes that are really killed."""

import pytest

from experiments.presence import WORKER_GONE_SECONDS
from tests.storm.test_storm import OVER_FILES, run_in_a_process


@OVER_FILES
@pytest.mark.slow
def test_missing_worker_and_dying_host_are_said_in_a_sentence(tmp_path):
    told = run_in_a_process("tests.storm.deaths", tmp_path, STORM_MAX_CRASHES="2", STORM_RUN_SECONDS="600", JOB_LEASE_SECONDS="20")

    assert told["before"].startswith("No worker for tuning and scoring is running")
    assert told["while_it_lives"] is None
    assert told["state"] == "quarantined"
    assert told["error"].startswith("This job ended its worker process again and again without getting further")
    assert "SIGKILL" in told["detail"]
    assert told["after"] == told["before"]
    assert told["after_seconds"] < WORKER_GONE_SECONDS + 2  # the promise is 15 seconds; two for a busy machine
