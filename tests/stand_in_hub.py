"""A stand-in for the Hugging Face Hub: serves a folder of repositories over loopback.

The real `huggingface_hub` talks to it, so downloads, its cache and its errors are the real ones. It answers
what a snapshot download asks: the revision, the file tree, and the files with their commit and etag.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".bin", ".ckpt", ".onnx")


class StandInHub:
    """Repositories under `root` as `owner/name/...`, served at `url`.

    Files are called "owner/name/path/in/it".

    Attributes:
        downloads: What was sent, in order.
        spoiled: File -> what is sent in its place, under its own name, size and etag.
        breaking: Files whose next transfer stops half-way.
        pausing: Files whose transfers wait half-way until `go_on` is set.
        resumed: Files of which only the rest was asked for, and from which byte on.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads: list[str] = []
        self.spoiled: dict[str, bytes] = {}
        self.breaking: set[str] = set()
        self.pausing: set[str] = set()
        self.go_on = threading.Event()
        self.resumed: list[tuple[str, int]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """From now on nobody answers at `url`. May be called twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(root: Path) -> Iterator[StandInHub]:
    """A hub for as long as the block runs."""
    hub = StandInHub(root)
    try:
        yield hub
    finally:
        hub.stop()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Send `huggingface_hub` of this process to `url`, with a cache of its own.

    Its constants are set rather than HF_ENDPOINT, which it reads only once, when it is imported.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    huggingface_hub.close_session()  # the next request opens a client that knows NO_PROXY


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub  # HTTP/1.0, the default, keeps no connection open that would outlive `stop`

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *args: object) -> None:
        del args  # pytest's output is for tests

    def _answer(self, *, with_body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if is_api else parts[:2])
        action, revision, *rest = [*(parts[4:] if is_api else parts[2:]), "", ""]
        if not (self.hub.root / repo).is_dir():
            self._fail("RepoNotFound")
        elif revision not in {"main", COMMIT}:
            self._fail("RevisionNotFound")
        elif action == "resolve":
            self._send_file(repo, "/".join(part for part in rest if part), with_body=with_body)
        else:
            tree = self._tree(repo)
            info = {"_id": "0", "id": repo, "sha": COMMIT, "siblings": [{"rfilename": f["path"]} for f in tree]}
            self._send(json.dumps(tree if action == "tree" else info).encode(), {}, with_body=with_body)

    def _tree(self, repo: str) -> list[dict[str, object]]:
        root = self.hub.root / repo
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [self._entry(path, path.relative_to(root).as_posix()) for path in files]

    def _entry(self, path: Path, name: str) -> dict[str, object]:
        content = path.read_bytes()
        entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if path.suffix in _LARGE:
            entry["lfs"] = {"oid": _etag(path), "size": len(content), "pointerSize": 130}
        return entry

    def _send_file(self, repo: str, name: str, *, with_body: bool) -> None:
        path, file = self.hub.root / repo / name, f"{repo}/{name}"
        if not path.is_file():
            self._fail("EntryNotFound")
            return
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}
        if not with_body:
            self._send(path.read_bytes(), headers, with_body=False)
            return
        self.hub.downloads.append(file)
        content = self.hub.spoiled.get(file, path.read_bytes())
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            self.hub.resumed.append((file, start))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], headers, with_body=True, file=file)

    def _send(self, body: bytes, headers: dict[str, str], *, with_body: bool, file: str = "") -> None:
        self.send_response(206 if "Content-Range" in headers else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        if file in self.hub.breaking:
            self.hub.breaking.remove(file)
            return
        if file in self.hub.pausing:
            self.hub.go_on.wait()
        with suppress(BrokenPipeError, ConnectionResetError):  # the visitor may have gone
            self.wfile.write(body[half:])

    def _fail(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(path: Path) -> str:
    content = path.read_bytes()
    return (hashlib.sha256 if path.suffix in _LARGE else hashlib.sha1)(content).hexdigest()
