"""The command line: `python -m workers.engine run SPEC.json --out DIR`."""

import argparse
import sys
from pathlib import Path

from workers.engine.errors import EngineError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute one spec and write predictions, result and artifact")
    run.add_argument("spec", type=Path)
    run.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    from workers.engine.execute import execute
    from workers.engine.spec import RunSpec
    try:
        execute(RunSpec.from_file(arguments.spec), arguments.out, None, None)
    except EngineError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
