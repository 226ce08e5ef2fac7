"""The command line: `python -m workers.engine run SPEC.json --out DIR`, `… answer --model FOLDER …` and `… host`.

torch is imported only once a command needs it, so that a mistyped command answers at once.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.outcome import RunResult
from workers.engine.contract.requests import answer_lines
from workers.engine.contract.spec import DTYPES, BackboneRef, RunSpec
from workers.engine.errors import BadSpec, EngineError
from workers.engine.serving.shelf import DEFAULT_BYTES


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it was asked, 2 with one sentence on stderr when it could not."""
    parser = argparse.ArgumentParser(prog="python -m workers.engine", description="Executes runs without Django.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute one spec; write predictions, result and artifact")
    run.add_argument("spec", type=Path, help="JSON file; see workers/engine/example_spec.json")
    run.add_argument("--out", type=Path, required=True, help="folder for everything the run leaves")
    _describe_answer(commands.add_parser("answer", help="answer JSON lines on stdin by several prompts on one model, in shared passes"))
    commands.add_parser("host", help="stay warm and execute jobs from JSON lines on stdin")
    chosen = parser.parse_args(arguments)
    # Idle OpenMP threads sleep instead of spinning. On a machine with other work, spinning made two threads thirty times slower
    # than one; sleeping costs microseconds. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if chosen.command == "host":
        return _host()
    try:
        return _answer(chosen) if chosen.command == "answer" else _run(chosen.spec, chosen.out)
    except EngineError as error:
        print(error.message, file=sys.stderr)
        return 2


def _run(spec_file: Path, out: Path) -> int:
    spec = RunSpec.from_file(spec_file)
    from workers.engine.execute import execute
    from workers.engine.model.runtime import quiet_libraries
    from workers.engine.run import Run

    quiet_libraries()
    result = execute(Run(spec, out))
    _name_plainly(result, out)
    for name, metrics in result.metrics.items():
        right = (
            f"{metrics.n} without labels"
            if metrics.accuracy is None
            else f"{metrics.correct} of {metrics.n} correct ({metrics.accuracy:.1%})"
        )
        print(f"{name}: {right}, {metrics.rows_per_second:.0f} rows/s")
    print(f"Result: {out / 'result.json'}")
    return 0


def _name_plainly(result: RunResult, out: Path) -> None:
    """Where one file of rows was answered, its predictions also stand under a name that nobody has to look up."""
    plain = out / "predictions.jsonl"
    plain.unlink(missing_ok=True)  # of an earlier run into the same folder
    if len(result.predictions) == 1:
        (name,) = result.predictions.values()
        shutil.copyfile(out / name, plain)


def _describe_answer(answer: argparse.ArgumentParser) -> None:
    named = "; requests call it NAME, or else by the last part of its path. May be given many times"
    answer.description = 'A request is a line {"id": "1", "prompt": NAME, "fields": {"text": "…"}}; a reply is a line on stdout, in order.'
    answer.add_argument("--model", required=True, help="folder of the model, or its Hub id")
    answer.add_argument("--revision", help="full commit of a model on the Hub")
    answer.add_argument("--dtype", default="auto", choices=DTYPES)
    answer.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    answer.add_argument("--artifact", action="append", default=[], metavar="[NAME=]FOLDER", help=f"tuned prompt{named}")
    answer.add_argument("--prompt", action="append", default=[], metavar="[NAME=]SPEC.json", help=f"written prompt, as a run's spec{named}")
    answer.add_argument(
        "--max-bytes", type=int, default=DEFAULT_BYTES, help="most bytes of prefixes and adapters in memory (default 1 GiB)"
    )
    answer.add_argument("--max-new-tokens", type=int, default=32, help="longest free answer")


def _answer(chosen: argparse.Namespace) -> int:
    given = [(_named(value), is_artifact) for is_artifact in (True, False) for value in (chosen.prompt, chosen.artifact)[is_artifact]]
    names = [name for (name, _), _ in given]
    for name in names:
        if names.count(name) > 1:
            raise BadSpec(f"Two prompts are called {name}. Name them apart: NAME=PATH.")
    rules = Generation(max_new_tokens=chosen.max_new_tokens)
    specs = {name: RunSpec.from_file(path) for (name, path), is_artifact in given if not is_artifact}
    from workers.engine.model.backbone import load_backbone
    from workers.engine.model.runtime import quiet_libraries
    from workers.engine.serving.answerer import Answerer

    quiet_libraries()
    answerer = Answerer(load_backbone(BackboneRef(chosen.model, chosen.revision, chosen.dtype, chosen.device)), chosen.max_bytes)
    for (name, path), _ in given:
        answerer.load(name, specs.get(name, path))
    for line in answer_lines(sys.stdin, lambda requests: answerer.answer(requests, rules)):
        print(line, flush=True)
    return 0


def _named(value: str) -> tuple[str, Path]:
    """NAME=PATH, or a path that gives its own name."""
    name, is_named, path = value.partition("=")
    if is_named and not Path(value).exists():
        return name, Path(path)
    return Path(value).stem if value.endswith(".json") else Path(value).name, Path(value)


def _host() -> int:
    from workers.engine.host import serve_standard_streams

    serve_standard_streams()
    return 0


if __name__ == "__main__":
    sys.exit(main())
