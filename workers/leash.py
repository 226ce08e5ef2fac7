"""Starts a program that dies with its parent: `python -m workers.leash PARENT_PID PROGRAM ARGUMENT…`. Standard library only.

The kernel keeps the wish over exec, so the program itself needs to know nothing of it. A parent that is killed with SIGKILL has no
other way to take its child along. Where the kernel has no such call (not Linux), the closed standard input has to be enough.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the wish was made
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - an argument list from the supervisor, no shell


if __name__ == "__main__":
    main()
