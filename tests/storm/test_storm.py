"""Kills at random moments lose nothing, double nothing and mix nothing. `STORM_KILLS=50` makes it longer.

Over the real engine a storm is short in CI: each of its kills costs the start of a host and the loading of torch.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests.storm.surroundings import surroundings

ROOT = Path(__file__).parents[2]
# A storm over files and one over the servers may rage at the same time, two over the same broker may not.
OVER_FILES = pytest.mark.xdist_group("storm over files")
OVER_SERVERS = pytest.mark.xdist_group("storm over servers")
KILLS = int(os.environ.get("STORM_KILLS", "10"))
REAL_KILLS = int(os.environ.get("STORM_KILLS", "2"))  # a worker and a host
# The real engine needs seconds to start, so its lease is longer.
REAL = {"STORM_ENGINE": "real", "JOB_LEASE_SECONDS": "5", "OMP_WAIT_POLICY": "PASSIVE"}
HARM = [
    "lost",
    "doubled",
    "mixed",
    "wrong_scores",
    "left_over_predictions",
    "open_attempts",
    "runs_without_evaluation",
    "unfinished_experiments",
    "missing_tables",
    "experiments_without_latency",
    "missing_artifacts",
    "orphans",
    "left_running",
    "left_hosts",
    "left_workers",
    "crashes_by_leaving",
]


def run_in_a_process(module: str, home: Path, *arguments: str, **others: str) -> dict[str, Any]:
    """Run a program of this folder in a process of its own, on its own state directory, and return what it reports."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment = kept | surroundings(home) | others
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def assert_unharmed_storm(home: Path, kills: int, **others: str) -> None:
    report = run_in_a_process("tests.storm.storm", home, "--kills", str(kills), **others)
    assert report["errors"] == []
    assert {name: report[name] for name in HARM} == dict.fromkeys(HARM, 0), report
    assert report["kills"] >= kills
    assert report["hits"] >= 1, "no kill hit a running job, so this storm proves nothing"
    assert report["lost_attempts"] >= 1, report
    if report["is_real"] and kills >= 10:
        assert set(report["hits_in"]) & {"training", "scoring"}, report


@OVER_FILES
@pytest.mark.slow
def test_storm_over_files_and_sqlite(tmp_path):
    assert_unharmed_storm(tmp_path, KILLS)


@OVER_FILES
@pytest.mark.slow
def test_storm_over_the_real_engine_files_and_sqlite(tmp_path):
    assert_unharmed_storm(tmp_path, REAL_KILLS, **REAL)


def assert_once_each(report: dict[str, Any]) -> None:
    assert report == {"codes": [0] * 6, "jobs": 20, "attempts": 20, "fences": [1] * 20}


@OVER_FILES
@pytest.mark.slow
def test_crowd_with_the_same_keys_makes_each_job_once_and_claims_it_once(tmp_path):
    assert_once_each(run_in_a_process("tests.storm.crowd", tmp_path))


@pytest.fixture
def postgres_url():
    """A database of its own on the configured server, dropped afterwards."""
    database = settings.DATABASES["default"]
    where = {"host": database["HOST"], "port": database["PORT"] or 5432, "user": database["USER"], "password": database["PASSWORD"]}
    name = f"storm_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield "postgres://{user}:{password}@{host}:{port}/".format(**where) + name
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@OVER_SERVERS
@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
def test_storm_over_redis_and_postgres(tmp_path, postgres_url):
    servers = {"DATABASE_URL": postgres_url, "REDIS_URL": os.environ["REDIS_URL"]}
    assert_unharmed_storm(tmp_path, KILLS, **servers)


@OVER_SERVERS
@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
def test_storm_over_the_real_engine_redis_and_postgres(tmp_path, postgres_url):
    servers = {"DATABASE_URL": postgres_url, "REDIS_URL": os.environ["REDIS_URL"]}
    assert_unharmed_storm(tmp_path, REAL_KILLS, **servers, **REAL)


@OVER_SERVERS
@pytest.mark.slow
@pytest.mark.postgres
def test_crowd_on_postgres_makes_each_job_once_and_claims_it_once(tmp_path, postgres_url):
    assert_once_each(run_in_a_process("tests.storm.crowd", tmp_path, DATABASE_URL=postgres_url))
