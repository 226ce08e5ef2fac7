"""What the heaviest pages cost the server: `python -m tests.page_times` (make bench-pages), on an idle machine.

A comparison of 50 runs with 150,000 predictions stands in a database of its own (SQLite, or beside the one of DATABASE_URL). Prints
queries and the median time of each page, signed in, with what Django does around a view; the limits are 30 queries and 100 ms.
"""

import argparse
import logging
import os
import time
from statistics import median

import django

LIMIT_QUERIES, LIMIT_MS = 30, 100
PAGES = ("comparison-list", "comparison-detail", "comparison-state", "comparison-table", "comparison-examples", "report-create")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=3_000, help="validation rows, each answered by every run")
    parser.add_argument("--looks", type=int, default=15)
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    logging.disable(logging.CRITICAL)
    from django.test.utils import get_runner, setup_test_environment

    setup_test_environment(debug=False)
    from django.conf import settings

    runner = get_runner(settings)(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        _look(arguments)
    finally:
        runner.teardown_databases(databases)


def _look(arguments: argparse.Namespace) -> None:
    from django.test import Client
    from django.urls import reverse

    from tests import factories
    from tests.comparison_data import make_finished_experiment, make_price_book

    alice = factories.make_user("alice@example.com", name="Alice")
    workspace = factories.make_workspace("acme", owner=alice)
    prices = make_price_book(workspace)
    experiment = make_finished_experiment(workspace, num_runs=arguments.runs, num_validation=arguments.rows, price_book=prices)
    client = Client()
    client.force_login(alice)
    print(f"{arguments.runs} runs, {arguments.runs * arguments.rows:,} predictions; load {os.getloadavg()[0]:.1f}")
    print(f"{'page':<22}{'queries':>8}{'median':>10}{'slowest':>10}   limits: {LIMIT_QUERIES} queries, {LIMIT_MS} ms")
    for page in PAGES:
        address = reverse(page, args=["acme"] if page == "comparison-list" else ["acme", experiment.pk])
        queries, times = _cost(client, address, arguments.looks)
        verdict = "ok" if queries <= LIMIT_QUERIES and median(times) <= LIMIT_MS else "OVER"
        print(f"{page:<22}{queries:>8}{median(times):>7.0f} ms{max(times):>7.0f} ms   {verdict}")


def _cost(client, address: str, looks: int) -> tuple[int, list[float]]:
    """(queries of one look, milliseconds of each look); the first looks fill caches, as any visitor's do."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    count = len(queries)  # read now: the next request empties the log
    times = []
    for _ in range(looks):
        start = time.perf_counter()
        client.get(address)
        times.append(1000 * (time.perf_counter() - start))
    return count, times


if __name__ == "__main__":
    main()
