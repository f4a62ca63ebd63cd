"""Where everything is, and how it is made when it is missing: the Python peers, tunebook, checkpoints, data."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / "target" / "bench"
CORES = len(os.sched_getaffinity(0))


def python():
    """The Python that has the peers: TUNEBOOK_BENCH_PYTHON, or an environment in the cache, made on first use."""
    if given := os.environ.get("TUNEBOOK_BENCH_PYTHON"):
        return Path(given)
    folder, wanted = CACHE / "venv", HERE / "requirements.txt"
    installed = folder / "installed.txt"
    if not installed.is_file() or installed.read_text() != wanted.read_text():
        print(f"installing the Python peers into {folder.relative_to(ROOT)}", flush=True)
        call(sys.executable, "-m", "venv", "--clear", folder)
        call(folder / "bin" / "pip", "install", "--quiet", "--requirement", wanted)
        installed.write_text(wanted.read_text())
    return folder / "bin" / "python"


def tunebook():
    """The binary: TUNEBOOK_BENCH_BINARY, or one that is built from the sources as they are."""
    if given := os.environ.get("TUNEBOOK_BENCH_BINARY"):
        return Path(given).resolve()
    return build("tunebook")


def build(name, **environment):
    """Builds tunebook in an environment and keeps it in the cache under `name`, whatever is built later."""
    command = ["cargo", "build", "--release", "--package", "tunebook"]
    call(*command, cwd=ROOT, env={**os.environ, **environment})
    CACHE.mkdir(parents=True, exist_ok=True)
    return shutil.copy2(ROOT / "target" / "release" / "tunebook", CACHE / name)


def checkpoint(size):
    """A checkpoint with random weights; see make_checkpoint.py for the sizes."""
    return made(CACHE / size, "make_checkpoint.py", size)


def peers_dtype():
    """In which type LLaMA-Factory trains: float32 on a CPU without instructions for bfloat16, where torch is so slow in it
    that a step does not end within ten minutes."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(file.read().split())
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"


def typed(model, dtype):
    """A checkpoint whose config.json names this type, in which LLaMA-Factory then loads it."""
    config = (model / "config.json").read_text()
    if f'"dtype": "{dtype}"' in config:
        return model
    folder = model.with_name(f"{model.name}-{dtype}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in model.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    (folder / "config.json").write_text(config.replace('"dtype": "bfloat16"', f'"dtype": "{dtype}"'))
    return folder


def data():
    """Data sets `bench` and `long`; see make_data.py."""
    return made(CACHE / "data", "make_data.py")


def script(name, *lines):
    """A file of commands for `tunebook run`."""
    file = CACHE / "scripts" / f"{name}.tune"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def made(folder, maker, *arguments):
    """`folder`, made by a script beside this file if it is not there; under another name until it is whole."""
    if not folder.is_dir():
        print(f"making {folder.relative_to(ROOT)}", flush=True)
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        call(python(), HERE / maker, *arguments, unfinished)
        unfinished.rename(folder)
    return folder


def call(*command, **options):
    subprocess.run([str(word) for word in command], check=True, **options)
