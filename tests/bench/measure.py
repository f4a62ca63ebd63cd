"""Runs a program and notes when each of its lines came and how much memory it took."""

import os
import pty
import re
import signal
import subprocess
import time
from dataclasses import dataclass

from places import CACHE, CORES

# Both sides get every core, and neither asks a hub for anything.
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": str(CORES),
    "HF_HUB_OFFLINE": "1",
    "DISABLE_VERSION_CHECK": "1",
}


@dataclass
class Run:
    """A program that has ended."""

    lines: list[tuple[float, str]]
    """Seconds since its start, and the line."""
    seconds: float
    peak: int
    """Largest resident memory in bytes, mapped files included: VmHWM."""

    def times(self, pattern):
        """When the lines came that begin with `pattern`."""
        return [at for at, line in self.lines if re.match(pattern, line)]

    def find(self, pattern):
        """What the group in `pattern` is, where it is found first."""
        found = re.search(pattern, self.text)
        if found is None:
            raise SystemExit(f"nothing is like {pattern!r} in\n{self.text}")
        return found[1]

    def number(self, pattern):
        return int(self.find(pattern).replace(",", ""))

    @property
    def text(self):
        return "\n".join(line for _, line in self.lines)


def run(command, name):
    """Runs `command` to its end; what it writes to standard error goes to a log of that name."""
    log = CACHE / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            env=ENVIRONMENT,
        )
        lines = [(time.perf_counter() - start, line.rstrip()) for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join([line for _, line in lines][-20:] + log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"{' '.join(map(str, command))} ended with status {process.returncode}:\n{tail}")
    return Run(lines, seconds, usage.ru_maxrss * 1024)


def first_prompt(command, prompt, environment):
    """Seconds from starting `command` at a terminal to its first prompt."""
    start = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(environment, TERM="xterm")
        os.execvp(command[0], [str(word) for word in command])
    seen = b""
    try:
        while prompt not in seen:
            seen += os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        raise SystemExit(f"{command[0]} ended before its prompt:\n{seen.decode(errors='replace')}") from None
    elapsed = time.perf_counter() - start
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    return elapsed


def alternate(ours, theirs, runs):
    """Runs the two sides in turn, so that a change in the machine's speed meets both.

    A side is a function that gives its figures by name; of each side comes a list of every figure."""
    found = {}, {}
    for number in range(runs):
        for side, measure, name in zip(found, (ours, theirs), ("tunebook", "Python")):
            figures = measure()
            for figure, value in figures.items():
                side.setdefault(figure, []).append(value)
            shown = ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
            print(f"  {number + 1}/{runs} {name}: {shown}", flush=True)
    return found
