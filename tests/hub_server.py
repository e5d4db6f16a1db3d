"""A model hub on loopback, with the URLs and headers of the real one, for what a folder of files holds."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 10_000
"""Bytes from which a file is kept apart from git, as weights are, and has a SHA-256."""


class HubServer:
    """Serves `folder/<owner>/<name>/`, each model at one commit, which its branch `main` and tag `v1` name.

    Attributes:
        gated, private: models that are not given to just anyone.
        damaged: files whose bytes come changed.
        requests: the paths that were asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.damaged: set[str] = set()
        self.licence = "apache-2.0"
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append(path)
                status, headers, body = hub.answer(path)
                if wanted := self.headers.get("Range"):
                    start, _, end = wanted.removeprefix("bytes=").partition("-")
                    body = body[int(start) : int(end) + 1 if end else None]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def commit(self, model: str) -> str:
        """Of what is in the model's folder now."""
        whole = hashlib.sha1()
        for name, content in self._files(model).items():
            whole.update(name.encode() + b"\0" + content)
        return whole.hexdigest()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        model = "/".join(parts[2:4] if api else parts[:2])
        known = (self.folder / model).is_dir() and model.count("/") == 1
        if not known or model in self.private:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
        commit = self.commit(model)
        rest = parts[4:] if api else parts[2:]
        if len(rest) > 1 and rest[1] not in (commit, "main", "v1"):
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"}, b""
        if api:
            listed = self._tree(model) if rest[:1] == ["tree"] else self._info(model, commit)
            return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
        if model in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        name = "/".join(rest[2:])
        content = self._files(model).get(name)
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b""
        etag = {"ETag": f'"{_blob(content)}"'}
        if len(content) >= LARGE:
            etag = {"X-Linked-Etag": f'"{_sha256(content)}"', "X-Linked-Size": str(len(content)), **etag}
        if name in self.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return 200, {"X-Repo-Commit": commit, "Content-Type": "application/octet-stream", **etag}, content

    def _info(self, model: str, commit: str) -> dict[str, Any]:
        siblings = [{"rfilename": each.pop("path"), "blobId": each.pop("oid"), **each} for each in self._tree(model)]
        card = {"license": self.licence}
        gated = "auto" if model in self.gated else False
        return {"id": model, "sha": commit, "siblings": siblings, "gated": gated, "cardData": card, "private": False}

    def _tree(self, model: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name, content in self._files(model).items():
            about: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
            if len(content) >= LARGE:
                sha256 = _sha256(content)
                about["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 134}
            found.append(about)
        return found

    def _files(self, model: str) -> dict[str, bytes]:
        folder = self.folder / model
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
