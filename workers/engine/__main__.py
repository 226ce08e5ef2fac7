"""The command line: `python -m workers.engine run SPEC.json --out DIR` and `python -m workers.engine host`.

torch is imported only once a command needs it, so that a mistyped command answers at once.
"""

import argparse
import os
import sys
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.spec import RunSpec


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it was asked, 2 with one sentence on stderr when it could not."""
    parser = argparse.ArgumentParser(prog="python -m workers.engine", description="Executes runs without Django.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute one spec; write predictions, result and artifact")
    run.add_argument("spec", type=Path, help="JSON file; see workers/engine/example_spec.json")
    run.add_argument("--out", type=Path, required=True, help="folder for everything the run leaves")
    commands.add_parser("host", help="stay warm and execute jobs from JSON lines on stdin")
    chosen = parser.parse_args(arguments)
    # Idle OpenMP threads sleep instead of spinning. On a machine with other work, spinning made two threads thirty times slower
    # than one; sleeping costs microseconds. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if chosen.command == "host":
        return _host()
    try:
        return _run(chosen.spec, chosen.out)
    except EngineError as error:
        print(error.message, file=sys.stderr)
        return 2


def _run(spec_file: Path, out: Path) -> int:
    spec = RunSpec.from_file(spec_file)
    from workers.engine.execute import execute
    from workers.engine.run import Run
    from workers.engine.runtime import quiet_libraries

    quiet_libraries()
    result = execute(Run(spec, out))
    for name, metrics in result.metrics.items():
        print(f"{name}: {metrics.correct} of {metrics.n} correct ({metrics.accuracy:.1%}), {metrics.rows_per_second:.0f} rows/s")
    print(f"Result: {out / 'result.json'}")
    return 0


def _host() -> int:
    from workers.engine.host import serve_standard_streams

    serve_standard_streams()
    return 0


if __name__ == "__main__":
    sys.exit(main())
