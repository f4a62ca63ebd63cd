"""answers.py TUNEBOOK LLAMA_CPP

Does llama.cpp, with the files that `export format=gguf` writes, answer as the session that wrote them? TUNEBOOK is the
binary, LLAMA_CPP a folder with llama.cpp's sources and what is built of them in `build/bin`.

1. `export … check=N` on the demo: the model alone, with a trained adapter merged into it in every type, and the adapter by
   itself over the model alone. In 16 and 32 bits every answer must be equal, in fewer bits they are counted.
2. Chats with and without a picture over llama-server's /v1/chat/completions, thus through the chat template in the file,
   beside those of `chat`. The pictures of the demo need no resizing; one that does is told, not judged.
3. The `gguf` package of LLAMA_CPP reads each file, and dequantizes every matrix of those with fewer bits: how far it is from
   the one in 32 bits, beside what llama-quantize makes of it.

Exit status 1 if something is not as it should be.
"""

import base64
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np

EXACT = ["f32", "f16", "bf16"]
OTHERS = ["q8_0", "q4_0", "q4_k"]
QUESTIONS = 40
CHATS = [
    (None, "Hello"),
    (None, "What can you do?"),
    (None, "你好"),
    ("images/creatures_held_out_0001.png", "Describe this creature."),
    ("images/creatures_held_out_0002.png", "描述一下这个生物。"),
    ("images/creatures_held_out_0003.png", "What colour is it?"),
]


class Checks:
    failed = False

    def say(self, text, good=True):
        self.failed |= not good
        print(("ok    " if good else "WRONG ") + text, flush=True)


def tunebook(binary, folder, lines, llama_server):
    script = folder / "script.tune"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{llama_server.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run([binary, "run", script], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}")
    return done.stdout


def exports(binary, folder, llama_server, checks):
    lines = ["demo", "print == base", f"export base format=gguf adapter=base check={QUESTIONS}"]
    lines += [f"export base-f16 format=gguf type=f16 adapter=base check={QUESTIONS}"]
    lines += ["lora", "set seed=42", "train"]
    for kind in EXACT + OTHERS:
        lines += [f"print == {kind}", f"export tuned-{kind} format=gguf type={kind} check={QUESTIONS}"]
    lines += ["print == lora", f"export lora format=gguf adapter_only=true check={QUESTIONS}"]
    for part in re.split("^== ", tunebook(binary, folder, lines, llama_server), flags=re.M)[1:]:
        name = part.split()[0]
        for equal, asked in re.findall(r"(\d+) of (\d+) answers equal", part):
            checks.say(f"{name}: {equal} of {asked} answers equal", name in OTHERS or equal == asked)
        for line in part.splitlines():
            if line.startswith(("sample", "  here", "  llama.cpp")) and name in OTHERS:
                print("      " + line)


@contextlib.contextmanager
def server(program, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([program, *map(str, arguments), "--port", str(port)], stdout=log, stderr=log)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(url + "/health")
                    break
                time.sleep(0.1)
            yield url
        finally:
            process.kill()
            process.wait()


def ask(url, picture, text):
    content = [{"type": "text", "text": text}]
    if picture:
        data = base64.b64encode(picture.read_bytes()).decode()
        content.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": content}]
    body = json.dumps({"messages": messages, "temperature": 0, "max_tokens": 64, "repeat_penalty": 1}).encode()
    request = urllib.request.Request(url + "/v1/chat/completions", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"].strip()


def chats(binary, folder, llama_server, checks):
    """Of the tuned model, whose adapter is on in the session."""
    lines = ["demo", "lora", "set seed=42", "train", "set do_sample=false repetition_penalty=1 max_new_tokens=64"]
    for picture, text in CHATS:
        image = f"image={picture} " if picture else ""
        lines += ["print == ask", f"chat {image}{text}", "print == end", "chat clear"]
    shown = tunebook(binary, folder, lines, llama_server)
    here = [part.split("== end")[0].strip().splitlines()[0] for part in shown.split("== ask")[1:]]
    data = next((folder / "cache").rglob("creatures_held_out_0001.png")).parent.parent
    model = ["-m", folder / "tuned-bf16" / "tuned-bf16-BF16.gguf", "--mmproj", folder / "tuned-bf16" / "mmproj-tuned-bf16-BF16.gguf"]
    with server(llama_server, *model) as url:
        for (picture, text), answer in zip(CHATS, here):
            there = ask(url, picture and data / picture, text)
            checks.say(f"{text} -> {there}" + ("" if there == answer else f" (here: {answer})"), there == answer)


def errors(folder, llama_cpp, checks):
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    from gguf import GGUFReader
    from gguf.quants import dequantize

    def values(path):
        return {t.name: dequantize(t.data, t.tensor_type).astype(np.float64).ravel() for t in GGUFReader(path).tensors}

    whole = folder / "tuned-f32" / "tuned-f32-F32.gguf"
    exact = values(whole)

    def error(path):
        found = values(path)
        matrices = [name for name in exact if exact[name].size > 4096]
        squares = sum(((found[name] - exact[name]) ** 2).sum() for name in matrices)
        return (squares / sum((exact[name] ** 2).sum() for name in matrices)) ** 0.5

    for kind, name in [("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0"), ("q4_0", "Q4_0"), ("q4_k", "Q4_K_M")]:
        ours = error(folder / f"tuned-{kind}" / f"tuned-{kind}-{name}.gguf")
        theirs = folder / f"{name}.gguf"
        quantize = llama_cpp / "build" / "bin" / "llama-quantize"
        subprocess.run([quantize, whole, theirs, name], check=True, capture_output=True)
        theirs = error(theirs)
        checks.say(f"{name}: relative error {ours:.6f}, of llama-quantize {theirs:.6f}", ours <= 1.02 * theirs)


def main(binary, llama_cpp):
    binary, llama_cpp = pathlib.Path(binary).resolve(), pathlib.Path(llama_cpp).resolve()
    llama_server, checks = llama_cpp / "build" / "bin" / "llama-server", Checks()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        exports(binary, folder, llama_server, checks)
        chats(binary, folder, llama_server, checks)
        errors(folder, llama_cpp, checks)
    return int(checks.failed)


sys.exit(main(*sys.argv[1:]))
