"""gguf.py LLAMA_CPP

What llama.cpp makes of the demo's model and of the tiny checkpoints: LLAMA_CPP is a folder with its sources, in which
`build/bin/llama-quantize` is built (`tests/gguf/llama_cpp.sh` makes both). Writes `fixtures/gguf/NAME.json`:

- `text`, `mmproj`: what convert_hf_to_gguf.py writes with --outtype auto: `metadata` (of long lists the number of elements
  and the SHA-256 of their JSON), and `tensors`, each as `TYPE [dims] HASH`, the first 16 digits of its bytes' SHA-256.
- `types`: the tensors of the same with q8_0, and of what llama-quantize makes of the language model in float32 with Q4_0 and
  Q4_K_M.
- `lora`: what convert_lora_to_gguf.py writes of the adapter in fixtures/train/cosine, with tiny only.

The converter knows a tokenizer by what it makes of a text. These have a vocabulary of their own, so it is told.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import pathlib
import runpy
import shutil
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = TESTS / "fixtures"
MODELS = {
    "demo": TESTS.parent / "kernel" / "demo" / "model",
    "tiny": FIXTURES / "tiny",
    "tiny-qwen2-vl": FIXTURES / "tiny-qwen2-vl",
    "tiny-qwen3-vl": FIXTURES / "tiny-qwen3-vl",
}
LONG = 64


def run(llama_cpp, script, *arguments):
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    before = sys.argv
    sys.argv = [script, *map(str, arguments)]
    try:
        with contextlib.suppress(SystemExit):
            runpy.run_path(str(llama_cpp / script), run_name="__main__")
    finally:
        sys.argv = before


def convert(llama_cpp, folder, out, outtype, *options):
    run(llama_cpp, "convert_hf_to_gguf.py", folder, "--outfile", out, "--outtype", outtype, *options)
    return out


def value(field):
    contents = field.contents()
    if isinstance(contents, list) and len(contents) > LONG:
        return [len(contents), hashlib.sha256(json.dumps(contents, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()]
    return contents


def tensors(file):
    from gguf import GGUFReader

    def line(tensor):
        dims = [int(size) for size in reversed(tensor.shape)]
        digest = hashlib.sha256(tensor.data.tobytes()).hexdigest()[:16]
        return f"{tensor.tensor_type.name} {dims} {digest}".replace(", ", ",")

    return {tensor.name: line(tensor) for tensor in sorted(GGUFReader(file).tensors, key=lambda tensor: tensor.name)}


def whole(file):
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    metadata = {key: value(field) for key, field in sorted(fields.items()) if not key.startswith("GGUF.")}
    return {"metadata": metadata, "tensors": tensors(file)}


def main(llama_cpp):
    llama_cpp = pathlib.Path(llama_cpp).resolve()
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    packages = ["torch", "transformers", "numpy"]
    versions = {name: importlib.metadata.version(name) for name in packages}
    (FIXTURES / "gguf").mkdir(exist_ok=True)
    for name, source in MODELS.items():
        with tempfile.TemporaryDirectory() as place:
            place = pathlib.Path(place)
            folder = shutil.copytree(source, place / name)
            full = convert(llama_cpp, folder, place / "f32.gguf", "f32")
            types = {
                "q8_0": tensors(convert(llama_cpp, folder, place / "q8_0.gguf", "q8_0")),
                "mmproj q8_0": tensors(convert(llama_cpp, folder, place / "mmproj-q8_0.gguf", "q8_0", "--mmproj")),
            }
            for kind in ["Q4_0", "Q4_K_M"]:
                out = place / f"{kind}.gguf"
                quantize = llama_cpp / "build" / "bin" / "llama-quantize"
                subprocess.run([quantize, full, out, kind], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                types[kind] = tensors(out)
            fixture = {
                "versions": versions,
                "text": whole(convert(llama_cpp, folder, place / "auto.gguf", "auto")),
                "mmproj": whole(convert(llama_cpp, folder, place / "mmproj.gguf", "auto", "--mmproj")),
                "types": types,
            }
            if name == "tiny":
                lora, adapter = place / "lora.gguf", FIXTURES / "train" / "cosine" / "adapter"
                run(llama_cpp, "convert_lora_to_gguf.py", adapter, "--base", folder, "--outfile", lora)
                fixture["lora"] = whole(lora)
            text = json.dumps(fixture, indent=1, ensure_ascii=False)
            (FIXTURES / "gguf" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


main(*sys.argv[1:])
