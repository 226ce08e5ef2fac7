"""One engine host under supervision. The host here is scripted; tests/test_end_to_end.py drives the engine's own."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from workers.host import Limits, Wish


def test_run_ends_with_its_predictions_and_progress(make_slot, run_request, outside):
    outcome = make_slot().execute(run_request, watch=outside.watch(), limits=Limits())

    assert outcome.kind == "done"
    assert len((Path(run_request["out"]) / "predictions-validation.jsonl").read_text().splitlines()) == 2
    assert [progress["rows"] for progress in outside.heard] == [1, 2]


def test_host_stays_warm_between_jobs(make_slot, run_request, outside):
    slot = make_slot()

    slot.execute(run_request, watch=outside.watch(), limits=Limits())
    first = slot._host.pid
    slot.execute(run_request, watch=outside.watch(), limits=Limits())

    assert slot._host.pid == first


def test_host_that_cannot_prove_itself_unchanged_is_replaced(make_slot, run_request, outside):
    slot = make_slot("changed")

    assert slot.execute(run_request, watch=outside.watch(), limits=Limits()).kind == "done"
    assert slot._host is None


def test_throw_away_host_is_used_once(make_slot, run_request, outside):
    slot = make_slot()

    slot.execute(run_request, watch=outside.watch(), limits=Limits(), throw_away=True)

    assert slot._host is None


def test_crash_costs_one_job_and_its_last_words_are_kept(make_slot, run_request, outside):
    outcome = make_slot("segfault").execute(run_request, watch=outside.watch(), limits=Limits())

    assert outcome.kind == "crashed"
    assert "about to fall" in outcome.detail
    assert "SIGSEGV" in outcome.detail


def test_engine_refusal_comes_back_as_its_sentence(make_slot, run_request, outside):
    outcome = make_slot("refuse").execute(run_request, watch=outside.watch(), limits=Limits())

    assert (outcome.kind, outcome.message["message"]) == ("failed", "Row 3 is empty.")


def test_cancel_reaches_a_working_host_and_keeps_it_warm(make_slot, run_request, outside):
    slot = make_slot("work", 3600.0)
    outside.wish = Wish.CANCEL

    outcome = slot.execute(run_request, watch=outside.watch(), limits=Limits(grace_seconds=0.2))

    assert outcome.kind == "cancelled"


def test_host_that_does_not_listen_is_killed_after_the_grace(make_slot, run_request, outside):
    slot = make_slot("deaf")
    outside.wish = Wish.CANCEL

    outcome = slot.execute(run_request, watch=outside.watch(), limits=Limits(grace_seconds=0.1))

    assert outcome.kind == "cancelled"
    assert not slot._host.is_alive


def test_worker_that_leaves_stops_its_host(make_slot, run_request, outside):
    slot = make_slot("silence")
    outside.wish = Wish.LEAVE

    outcome = slot.execute(run_request, watch=outside.watch(), limits=Limits(leave_seconds=0.1))

    assert outcome.kind == "stopped"


def test_lost_lease_ends_the_host_at_once(make_slot, run_request, outside):
    slot = make_slot("silence")
    outside.wish = Wish.DROP

    assert slot.execute(run_request, watch=outside.watch(), limits=Limits()).kind == "dropped"
    assert not slot._host.is_alive


def test_silent_host_counts_as_crashed(make_slot, run_request, outside):
    outcome = make_slot("silence").execute(run_request, watch=outside.watch(), limits=Limits(hang_seconds=0.1))

    assert outcome.kind == "crashed"
    assert "said nothing" in outcome.detail


def test_host_past_the_memory_limit_is_ended(make_slot, run_request, outside):
    outcome = make_slot("hungry").execute(run_request, watch=outside.watch(), limits=Limits(memory_bytes=200 << 20))

    assert outcome.kind == "memory"


def test_host_past_the_time_limit_is_ended(make_slot, run_request, outside):
    outcome = make_slot("silence").execute(run_request, watch=outside.watch(), limits=Limits(time_seconds=0.1))

    assert outcome.kind == "time"


def test_dead_host_is_replaced_at_the_next_job(make_slot, run_request, outside):
    slot = make_slot()
    slot.execute(run_request, watch=outside.watch(), limits=Limits())
    slot._host.kill()

    assert slot.execute(run_request, watch=outside.watch(), limits=Limits()).kind == "done"


def test_only_the_end_of_the_error_output_is_kept_and_only_of_this_job(make_slot, run_request, outside):
    slot = make_slot("chatty")

    slot.execute(run_request, watch=outside.watch(), limits=Limits())
    slot._host.kill()
    tail = slot._host.tail()
    slot._host.forget_errors()

    assert len(tail) < 5000
    assert "line 99999" in tail
    assert "line" not in slot._host.tail()


def test_idle_host_is_closed_only_after_its_time(make_slot, run_request, outside):
    slot = make_slot()
    slot.execute(run_request, watch=outside.watch(), limits=Limits())

    slot.close_if_idle()
    assert slot._host is not None
    slot._idle_seconds = -1.0
    slot.close_if_idle()

    assert slot._host is None


def test_host_dies_with_a_killed_supervisor():
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from workers.host import EngineHost\n"
        """sleeper = "import time; print('{\\"event\\": \\"ready\\"}', flush=True); time.sleep(3600)"\n"""
        "host = EngineHost([sys.executable, '-c', sleeper], environment=os.environ, folder=Path.cwd())\n"
        "assert host.next_message(60)\n"  # the program itself runs, past the leash
        "print(host.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert supervisor.stdout is not None
    host = psutil.Process(int(supervisor.stdout.readline()))

    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    host.wait(timeout=10)

    assert not host.is_running()


def test_leash_does_not_start_the_program_of_a_dead_parent(tmp_path):
    started = tmp_path / "started"

    code = subprocess.run(
        [sys.executable, "-m", "workers.leash", str(os.getpid() + 1), sys.executable, "-c", f"open({str(started)!r}, 'w')"],
        cwd=Path(__file__).parents[2],
        check=False,
    ).returncode

    assert (code, started.exists()) == (1, False)
