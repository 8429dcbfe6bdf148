"""A stand-in for the Hugging Face Hub: serves a folder of repositories over loopback, as the Hub does.

The real `huggingface_hub` talks to it, so its questions, cache and errors are the real ones. As there, connections are
kept open; a large file's `resolve` is a redirect, with the file's sha256 and size, to another host that wants its
signature and knows ranges, while small files come at once; and what is refused has the Hub's status and headers.
"""

import hashlib
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

from pipelines.plan import catalog

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".bin", ".ckpt", ".onnx")


@dataclass
class Refusal:
    """What the stand-in answers in the place of what was asked for.

    Args:
        status: HTTP's.
        code, message: The Hub's `X-Error-Code` and `X-Error-Message`; empty where it sends none.
        headers: Others.
        at: Which questions: "api" about a repository, "resolve" for a file, "cdn" for a large file's content.
        times: So often; after that the answer is the right one.
    """

    status: int
    code: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    at: tuple[str, ...] = ("api", "resolve")
    times: int = 1_000_000


class StandInHub:
    """Repositories under `root` as `owner/name/...`, served at `url`.

    Files are called "owner/name/path/in/it".

    Attributes:
        downloads: What was sent, in order.
        spoiled: File -> what is sent in its place, under its own name, size and etag.
        breaking: Files whose next transfer stops half-way.
        pausing: Files whose transfers wait half-way until `go_on` is set.
        resumed: Files of which only the rest was asked for, and from which byte on.
        refusal: What is answered in the place of the truth.
        questions: The kinds of questions that came, in order.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads: list[str] = []
        self.spoiled: dict[str, bytes] = {}
        self.breaking: set[str] = set()
        self.pausing: set[str] = set()
        self.go_on = threading.Event()
        self.resumed: list[tuple[str, int]] = []
        self.refusal: Refusal | None = None
        self.questions: list[str] = []
        self.signed: dict[str, str] = {}
        self._open: set[socket.socket] = set()
        self._servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"hub": self})) for kind in (_Hub, _Cdn)
        ]
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()
        self.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.cdn = f"http://localhost:{self._servers[1].server_port}"

    def stop(self) -> None:
        """From now on nobody answers at `url`. May be called twice."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
        for connection in list(self._open):  # which were kept open
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def opened(self, connection: socket.socket) -> None:
        """Note a connection."""
        self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget one."""
        self._open.discard(connection)

    def refusal_at(self, kind: str) -> Refusal | None:
        """Count a question, and say what it is refused with."""
        self.questions.append(kind)
        refusal = self.refusal
        if refusal is None or kind not in refusal.at or not refusal.times:
            return None
        refusal.times -= 1
        return refusal


@contextmanager
def serving(root: Path) -> Iterator[StandInHub]:
    """A hub for as long as the block runs."""
    hub = StandInHub(root)
    try:
        yield hub
    finally:
        hub.go_on.set()
        hub.stop()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Send `huggingface_hub` of this process to `url`, with a cache of its own.

    Its constants are set rather than HF_ENDPOINT, which it reads only once, when it is imported. Files there have true
    names and other contents, so what the catalog knows of theirs is forgotten.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(catalog, "published_file", lambda _repo, _name: None)
    huggingface_hub.close_session()  # the next request opens a client that knows NO_PROXY


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.opened(self.connection)

    def finish(self) -> None:
        self.hub.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        raise NotImplementedError

    def log_message(self, *args: object) -> None:
        del args  # pytest's output is for tests

    def send(self, status: int, headers: dict[str, str], body: bytes, *, with_body: bool, file: str = "") -> None:
        """Send an answer; that of a file may stop or wait half-way."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        half = len(body) // 2
        with suppress(BrokenPipeError, ConnectionResetError):  # the visitor may have gone
            self.wfile.write(body[:half])
            if file in self.hub.breaking:
                self.hub.breaking.remove(file)
                self.close_connection = True
                return
            if file in self.hub.pausing:
                self.wfile.flush()
                self.hub.go_on.wait()
            self.wfile.write(body[half:])

    def refuse(self, refusal: Refusal) -> None:
        """Say no, as the Hub does."""
        text = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        body = json.dumps({"error": refusal.message}).encode()
        headers = {name: value for name, value in text.items() if value} | refusal.headers
        self.send(refusal.status, headers, body, with_body=self.command == "GET")

    def send_content(self, file: str, etag: str, headers: dict[str, str], *, with_body: bool) -> None:
        """Send a file, or the part of it that was asked for."""
        path = self.hub.root / file
        if not with_body:
            return self.send(200, headers | {"Content-Length": str(path.stat().st_size)}, b"", with_body=False)
        self.hub.downloads.append(file)
        content = self.hub.spoiled.get(file, path.read_bytes())
        headers |= {"ETag": etag, "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if not start:
            return self.send(200, headers, content, with_body=True, file=file)
        self.hub.resumed.append((file, start))
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.send(206, headers, content[start:], with_body=True, file=file)


class _Hub(_Handler):
    """Answers for `huggingface.co`."""

    def answer(self, *, with_body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if is_api else parts[:2])
        action, revision, *rest = [*(parts[4:] if is_api else parts[2:]), "", ""]
        if refusal := self.hub.refusal_at("api" if is_api else "resolve"):
            self.refuse(refusal)
        elif not (self.hub.root / repo).is_dir():
            self.refuse(Refusal(401, "RepoNotFound", "Repository not found"))
        elif revision not in {"main", COMMIT}:
            self.refuse(Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        elif action == "resolve":
            self.resolve(repo, "/".join(part for part in rest if part), with_body=with_body)
        else:
            tree = self.tree(repo)
            siblings = [
                {"rfilename": file["path"], "size": file["size"], "blobId": file["oid"]}
                | ({"lfs": {**file["lfs"], "sha256": file["lfs"]["oid"]}} if "lfs" in file else {})
                for file in tree
            ]
            info = {"_id": "0", "id": repo, "sha": COMMIT, "siblings": siblings}
            body = json.dumps(tree if action == "tree" else info).encode()
            self.send(200, {"Content-Type": "application/json"}, body, with_body=with_body)

    def tree(self, repo: str) -> list[dict]:
        """Its files, as the Hub lists them."""
        root = self.hub.root / repo
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [self.entry(path, path.relative_to(root).as_posix()) for path in files]

    def entry(self, path: Path, name: str) -> dict:
        """A file of the list."""
        content = path.read_bytes()
        entry: dict = {"type": "file", "path": name, "size": len(content), "oid": _git_sha1(content)}
        if path.suffix in _LARGE:
            entry["lfs"] = {"oid": _etag(path), "size": len(content), "pointerSize": 130}
        return entry

    def resolve(self, repo: str, name: str, *, with_body: bool) -> None:
        """A file, or for a large one where it is."""
        path, file = self.hub.root / repo / name, f"{repo}/{name}"
        if not path.is_file():
            return self.refuse(Refusal(404, "EntryNotFound", "Entry not found"))
        headers = {"X-Repo-Commit": COMMIT}
        if path.suffix not in _LARGE:
            return self.send_content(file, f'"{_etag(path)}"', headers, with_body=with_body)
        signature = secrets.token_hex(8)
        self.hub.signed[signature] = file
        headers |= {
            "X-Linked-Etag": f'"{_etag(path)}"',
            "X-Linked-Size": str(path.stat().st_size),
            "ETag": f'W/"{secrets.token_hex(4)}"',  # the redirect's own
            "Location": f"{self.hub.cdn}/repos/{_etag(path)}?Expires=1&Key-Pair-Id=K&Signature={signature}",
        }
        return self.send(302, headers, b"Found. Redirecting", with_body=with_body)


class _Cdn(_Handler):
    """Answers for the host of large files."""

    def answer(self, *, with_body: bool) -> None:
        file = self.hub.signed.get(parse_qs(urlsplit(self.path).query).get("Signature", [""])[0])
        if refusal := self.hub.refusal_at("cdn"):
            self.refuse(refusal)
        elif file is None or self.headers.get("Authorization"):
            self.refuse(Refusal(403, message="AccessDenied"))  # also where a token of the Hub's is sent along
        else:
            self.send_content(file, f'"{secrets.token_hex(16)}"', {}, with_body=with_body)


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _etag(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest() if path.suffix in _LARGE else _git_sha1(content)
