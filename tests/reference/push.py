"""What huggingface_hub asks of a hub to upload an adapter: fixtures/push. (Needs huggingface_hub alone.)

requests.json, for each way by which a large file goes (`basic`, `multipart`) and for a second upload (`again`): the
requests in order, with method, path, Content-Type, Accept, whether the token came along, and the body: JSON, lines of
JSON, or the size and the SHA-256 of bytes. The hub is one on the loopback device, which answers as Hugging Face does; its
storage is at another name of this machine. The folder that is uploaded is train/adapter_nonzero.
"""

import base64
import hashlib
import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

# Xet, which is a library of its own, would take the place of LFS.
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp()

import huggingface_hub

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
OUT = FIXTURES / "push"
FOLDER = FIXTURES / "train" / "adapter_nonzero"
ID = "someone/creatures"
PART = 20_000


class Hub(BaseHTTPRequestHandler):
    """One repository. What it has is kept in the server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        said = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        kind = self.headers.get("Content-Type", "").split(";")[0]
        if kind.endswith("ndjson"):
            said = [json.loads(line) for line in body.splitlines()]
        elif kind.endswith("json"):
            said = json.loads(body)
        place = self.headers["Host"].split(":")[0]
        server.seen.append(
            {
                "method": self.command,
                "host": "storage" if place == "localhost" else "hub",
                "path": self.path,
                "content_type": kind or None,
                "accept": self.headers.get("Accept"),
                "with_token": self.headers.get("Authorization") == "Bearer hf_secret",
                "body": said if body else None,
            }
        )
        status, answer, headers = self.reply(said, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def reply(self, said, body):
        server, port = self.server, self.server.server_port
        storage, hub = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
        if self.path == "/api/repos/create":
            is_new, server.is_there = not server.is_there, True
            return (200, {"url": f"{hub}/{ID}"}, {}) if is_new else (409, {"error": "exists", "url": f"{hub}/{ID}"}, {})
        if self.path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if self.path.startswith(f"/api/models/{ID}/preupload/"):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": server.files.get(file["path"]),
                }
                for file in said["files"]
            ]
            return 200, {"files": modes}, {}
        if self.path == f"/{ID}.git/info/lfs/objects/batch":
            return 200, {"transfer": server.way, "objects": [self.object(thing, storage, hub) for thing in said["objects"]]}, {}
        if self.path.startswith("/storage/"):
            oid = self.path.split("/")[2].split("?")[0]
            server.objects.setdefault(oid, b"")
            server.objects[oid] += body
            return 200, {}, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
        if self.path.startswith("/api/complete/") or self.path.startswith("/api/verify"):
            return 200, {}, {}
        if self.path.startswith(f"/api/models/{ID}/commit/"):
            for line in said:
                value = line["value"]
                if line["key"] == "lfsFile":
                    server.files[value["path"]] = value["oid"]
                if line["key"] == "file":
                    content = base64.b64decode(value["content"])
                    server.files[value["path"]] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return 200, {"commitUrl": f"{hub}/{ID}/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True}, {}
        if self.path.startswith(f"/api/models/{ID}"):
            return 200, {"id": ID, "private": True, "sha": "1" * 40, "siblings": []}, {}
        return 404, {"error": "not found"}, {}

    def object(self, thing, storage, hub):
        oid, size = thing["oid"], thing["size"]
        if oid in self.server.objects:
            return {"oid": oid, "size": size}
        verify = {"href": f"{hub}/api/verify", "header": {}}
        if self.server.way == "basic":
            upload = {"href": f"{storage}/storage/{oid}", "header": {}}
        else:
            parts = -(-size // PART)
            urls = {f"{i + 1:05}": f"{storage}/storage/{oid}?part={i + 1}" for i in range(parts)}
            upload = {"href": f"{hub}/api/complete/{oid}", "header": {"chunk_size": str(PART), **urls}}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}


def upload(server):
    """The requests of one upload."""
    server.seen = []
    api = huggingface_hub.HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token="hf_secret")
    api.create_repo(ID, private=True, exist_ok=True)
    api.upload_folder(repo_id=ID, folder_path=FOLDER, commit_message="Upload")
    return server.seen


def main():
    said = {}
    for way in ["basic", "multipart"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        server.way, server.files, server.objects, server.is_there, server.seen = way, {}, {}, False, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said[way] = upload(server)
        if way == "basic":
            said["again"] = upload(server)
        server.shutdown()
    said["versions"] = {"huggingface_hub": huggingface_hub.__version__}
    OUT.mkdir(exist_ok=True)
    (OUT / "requests.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
