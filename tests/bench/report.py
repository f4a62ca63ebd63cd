"""Results as a table, a JSON file and a part of README.md beside this file."""

import datetime
import json
import statistics
import subprocess

from places import CACHE, CORES, ROOT, python

RESULTS = CACHE / "results.json"
README = ROOT / "tests/bench/README.md"
START, END = "<!-- bench -->\n", "<!-- /bench -->"


class Row:
    """One line of the table: a figure of tunebook, and of a peer if there is one."""

    def __init__(self, what, unit, ours, theirs=None, peer=""):
        self.what, self.unit, self.ours, self.theirs, self.peer = what, unit, ours, theirs, peer

    def cells(self):
        ours = number(statistics.median(self.ours))
        theirs = f"{number(statistics.median(self.theirs))} ({self.peer})" if self.theirs else ""
        ratio = number(statistics.median(a / b for a, b in zip(self.ours, self.theirs))) if self.theirs else ""
        return [self.what, self.unit, ours, theirs, ratio]


def number(value):
    """Three digits that count: 0.123, 1.23, 12.3, 123, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def keep(name, runs, rows):
    """Puts the rows of a benchmark into the results, beside those of others."""
    results = read()
    results["machine"] = machine()
    results["benchmarks"][name] = {
        "date": datetime.date.today().isoformat(),
        "commit": output("git", "-C", ROOT, "rev-parse", "--short", "HEAD"),
        "runs": runs,
        "rows": [vars(row) for row in rows],
    }
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read():
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text(encoding="utf-8"))
    return {"machine": machine(), "benchmarks": {}}


def table(names=None):
    """The results in Markdown: those of `names`, or all there are."""
    results = read()
    chosen = {name: found for name, found in results["benchmarks"].items() if names is None or name in names}
    lines = [["", "unit", "tunebook", "Python", "tunebook / Python"], ["---", "---", "---:", "---:", "---:"]]
    lines += [Row(**row).cells() for found in chosen.values() for row in found["rows"]]
    dates = sorted({found["date"] for found in chosen.values()})
    runs = sorted({found["runs"] for found in chosen.values()})
    note = (
        f"{results['machine']}. {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; medians of "
        f"{' to '.join(dict.fromkeys((str(runs[0]), str(runs[-1]))))} alternating runs, ratios run by run."
    )
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    text = "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)
    return f"{text}\n{note}\n"


def update_readme():
    before, rest = README.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}{table()}{END}{after}", encoding="utf-8")


def machine():
    """Processor, memory, and the versions of the peers."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        fields = dict((part.strip() for part in line.split(":", 1)) for line in file if ":" in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split()]
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    show = "import importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in ('llamafactory', "
    peers = output(python(), "-c", show + "'transformers', 'torch')))")
    name = fields.get("model name", "an unnamed processor")
    return f"{name}, {CORES} cores ({', '.join(flags)}), {memory:.0f} GiB; {peers}"


def output(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout.strip()
