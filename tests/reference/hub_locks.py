"""Ask the hubs' own libraries what they lock while they download the tiny model: fixtures/hub/locks.json. (Virtual
environment of requirements-llamafactory.txt.)

huggingface, modelscope   for each file its lock, below the cache"""

import hashlib
import pathlib
import tempfile

from huggingface_hub import file_download
from modelscope_hub._download import DownloadManager

from common import FIXTURES, TINY, dump, versions

ID = "Qwen/tiny"


class Locked(Exception):
    pass


def etag(path):
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def hugging_face(path, cache):
    def lock(place, **_):
        raise Locked(place)

    file_download.WeakFileLock = lock
    answer = ("http://hub", etag(path), "0" * 40, path.stat().st_size, None, None)
    file_download._get_metadata_or_catch_error = lambda **_: answer
    try:
        file_download.hf_hub_download(ID, path.name, cache_dir=cache)
    except Locked as locked:
        return locked.args[0]


def model_scope(path, cache):
    manager = object.__new__(DownloadManager)
    return manager._lock_path(ID, "model", pathlib.Path(cache), path.name)


def main():
    with tempfile.TemporaryDirectory() as cache:
        def locks(ask):
            return {path.name: str(pathlib.Path(ask(path, cache)).relative_to(cache)) for path in sorted(TINY.iterdir())}

        found = {"huggingface": locks(hugging_face), "modelscope": locks(model_scope)}
    (FIXTURES / "hub").mkdir(exist_ok=True)
    dump(FIXTURES / "hub" / "locks.json", {"versions": versions("huggingface_hub", "modelscope_hub"), **found})


if __name__ == "__main__":
    main()
