"""`python -m tunebook …` is `tunebook …`, also where the folder of programs is not on the PATH."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path


def program():
    """The program that was installed together with this package; None if there is none.

    `pip` has recorded where it went: an environment, a user's folder (`--user`), another prefix. Only after `--target`,
    which moves files, the record is not right, and the program is in a folder beside the package.
    """
    name = "tunebook.exe" if os.name == "nt" else "tunebook"
    recorded = importlib.metadata.files("tunebook") or []
    places = [Path(os.path.abspath(file.locate())) for file in recorded if file.name == name]
    places.append(Path(__file__).resolve().parents[1] / "bin" / name)
    return next((place for place in places if place.is_file()), None)


def main():
    found = program()
    if found is None:
        sys.exit("tunebook: its program is missing; install it anew with `pip install --force-reinstall tunebook`")
    command = [str(found), *sys.argv[1:]]
    if os.name != "nt":
        os.execv(found, command)
    # Windows cannot put a program in the place of this one. Ctrl-C reaches both, and is the program's to answer.
    process = subprocess.Popen(command, close_fds=False)
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
