#!/usr/bin/env python3
"""Builds the null CUDA driver: null_driver.c, plus a do-nothing function for every other name.

    null_driver.py FOLDER      (with CUDA_HOME naming the toolkit)

One library answers for all of them (the loader sees one file under six names), because GEMMs are
checked against the driver's allocations. libnvrtc is the real one: it needs no GPU, and what it
compiles shows which kernels a module has."""

import os
import re
import subprocess
import sys
from pathlib import Path

source = Path(__file__).resolve().with_name("null_driver.c")
folder = Path(sys.argv[1]).resolve()
folder.mkdir(parents=True, exist_ok=True)
toolkit = Path(os.environ["CUDA_HOME"])
libraries = {  # what a program asks for: where its names are found
    "libcuda.so.1": "stubs/libcuda.so",
    "libcudart.so.13": "libcudart.so.13",
    "libcublas.so.13": "libcublas.so.13",
    "libcublasLt.so.13": "libcublasLt.so.13",
    "libcurand.so.10": "libcurand.so.10",
}
written = set(re.findall(r"^(?:int|void|void \*\*|const char \*)\s*(\w+)\(", source.read_text(), re.M))
written |= {f"cublas{letter}gemm{kind}" for letter in "SD" for kind in ("_v2", "StridedBatched")}

stubs, versions = ["void null_unmodelled(const char *name, int *seen);"], []
for soname, path in libraries.items():
    table = subprocess.run(["nm", "-D", "--defined-only", toolkit / "lib" / path], check=True, capture_output=True, text=True)
    names = {line.split()[2].split("@")[0] for line in table.stdout.splitlines() if line.split()[1] in "TWi"}
    names = {name for name in names if re.match(r"_*cu[A-Zbrd]\w*$", name)}
    stubs += [f'int {name}(void) {{ static int seen; null_unmodelled("{name}", &seen); return 0; }}' for name in sorted(names - written)]
    if soname != "libcuda.so.1":  # the driver's names have no version
        versions.append(f"{soname} {{ global: {' '.join(f'{name};' for name in sorted(names))} }};")

(folder / "stubs.c").write_text("\n".join(stubs) + "\n")
(folder / "versions.map").write_text("\n".join(versions) + "\n")
subprocess.run(["gcc", "-O1", "-g", "-w", "-shared", "-fPIC", source, "stubs.c", "-o", "libnull.so",
                "-Wl,-soname,libnull.so", "-Wl,--version-script,versions.map", "-lpthread"], check=True, cwd=folder)
links = {soname: "libnull.so" for soname in libraries}
links |= {name: str(toolkit / "lib" / name) for name in ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0")}
for name, target in links.items():
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
print(f"{folder}: {len(stubs) - 1} functions that do nothing, {len(written)} that check")
