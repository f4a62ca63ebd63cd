"""archive.py WHEEL TARGET FOLDER: the program of a wheel, with its licences, as tunebook-VERSION-TARGET.tar.gz, on Windows
.zip, in FOLDER: what is downloaded is the same program, whichever way."""

import io
import pathlib
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BESIDE = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"]


def main(wheel, target, folder):
    version = pathlib.Path(wheel).name.split("-")[1]
    name = f"tunebook-{version}-{target}"
    files = {file: (ROOT / file).read_bytes() for file in BESIDE}
    with zipfile.ZipFile(wheel) as opened:
        [program] = [entry for entry in opened.namelist() if ".data/scripts/" in entry]
        files[pathlib.PurePosixPath(program).name] = opened.read(program)
    path = pathlib.Path(folder, name)
    if "windows" in target:
        with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file, contents in files.items():
                archive.writestr(f"{name}/{file}", contents)
        return
    with tarfile.open(f"{path}.tar.gz", "w:gz") as archive:
        for file, contents in files.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode = len(contents), 0o644 if file in BESIDE else 0o755
            archive.addfile(entry, io.BytesIO(contents))


if __name__ == "__main__":
    main(*sys.argv[1:])
