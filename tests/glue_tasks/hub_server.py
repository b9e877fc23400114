"""A hub on this machine: what `huggingface_hub` asks for, answered from a folder of OWNER/NAME repositories."""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parts_of(path: str) -> list[str]:
    """Of an address; a revision such as refs/convert/parquet is one, as clients write it."""
    return [urllib.parse.unquote(part) for part in urllib.parse.urlsplit(path).path.strip("/").split("/")]


class _Hub(http.server.BaseHTTPRequestHandler):
    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        parts = parts_of(self.path)
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            self.answer_file("/".join(parts[1:3]), "/".join(parts[5:]))
        elif parts[:2] == ["api", "datasets"] and len(parts) > 3:
            self.answer_about("/".join(parts[2:4]), parts[4:])
        else:
            self.answer_json({})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.asked.append(self.path)
        parts = parts_of(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        is_json = self.headers["Content-Type"].startswith("application/json")
        wanted = json.loads(body)["paths"] if is_json else urllib.parse.parse_qs(body)["paths"]
        repository = self.folder / "/".join(parts[2:4])
        self.answer_json([entry(repository, repository / path) for path in wanted if (repository / path).exists()])

    def answer_file(self, repository: str, name: str) -> None:
        path = self.folder / repository / name
        if not path.is_file():
            exists = (self.folder / repository).is_dir()
            return self.answer_json({}, 404, {"X-Error-Code": "EntryNotFound" if exists else "RepoNotFound"})
        self.answer(path.read_bytes(), 200, {"ETag": f'"{oid(path)}"', "X-Repo-Commit": COMMIT})
        return None

    def answer_about(self, name: str, rest: list[str]) -> None:
        repository = self.folder / name
        if not repository.is_dir():
            return self.answer_json({}, 404, {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["tree"]:
            below = repository / "/".join(rest[2:])
            if not below.is_dir():
                return self.answer_json({}, 404, {"X-Error-Code": "EntryNotFound"})
            paths = sorted(below.rglob("*") if "recursive=true" in self.path.lower() else below.iterdir())
            return self.answer_json([entry(repository, path) for path in paths])
        return self.answer_json({"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": []})

    def answer_json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def answer(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def entry(repository: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(repository).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": COMMIT, "size": 0}
    return {"type": "file", "path": name, "oid": oid(path), "size": path.stat().st_size}


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that has the folder's repositories, and the list of what it is asked for."""
    asked: list[str] = []
    handler = type("Hub", (_Hub,), {"folder": folder, "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
