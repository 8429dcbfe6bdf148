"""A stand-in for the Hub that takes a Space: it decides, refuses and stores as the Hub does. Loopback only.

The real `huggingface_hub` talks to it. Text comes inside the commit, everything binary or above 10 MiB by LFS's batch
questions and an upload of its own; a commit that has such a file inside is refused, and so is front matter with values
that the Hub does not know.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
GIT_MOST_BYTES = 10 * 1024**2


class StandInSpaces:
    """Serves at `url`.

    Attributes:
        token: Whose questions are answered; others get 401.
        made: What the Spaces were made with, by name.
        hardware: What was asked for, by Space.
        regular: Files that came inside a commit.
        large: Files that came by LFS, by path -> sha256.
        stored: The content of large files by sha256.
        removed: Files that a commit took away.
    """

    def __init__(self) -> None:
        self.token = "hf_stand_in_token"
        self.made: dict[str, dict[str, Any]] = {}
        self.hardware: dict[str, str] = {}
        self.regular: dict[str, bytes] = {}
        self.large: dict[str, str] = {}
        self.stored: dict[str, bytes] = {}
        self.removed: list[str] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving_spaces() -> Iterator[StandInSpaces]:
    """One for as long as the block runs."""
    hub = StandInSpaces()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: StandInSpaces

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self.is_known():
            return
        if path == "/api/whoami-v2":
            self.say({"type": "user", "name": "ann", "auth": {"accessToken": {"role": "write"}}})
        elif path.startswith("/api/spaces/") and "/tree/" in path:
            files = [*self.hub.regular, *self.hub.large]
            self.say([{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in files])
        elif path.endswith("/runtime"):
            self.say(self.runtime("cpu-basic"))
        else:
            self.say({"error": f"GET {path}"}, status=404)

    def do_POST(self) -> None:  # noqa: PLR0911 - an answer for each address
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.is_known():
            return
        if path.endswith("/commit/main"):
            space = path.removeprefix("/api/spaces/").removesuffix("/commit/main")
            return self.commit(space, [json.loads(line) for line in body.splitlines()])
        document = json.loads(body)
        if path == "/api/repos/create":
            name = f"{document.get('organization') or 'ann'}/{document['name']}"
            if not name.startswith("ann/"):
                return self.say({"error": "You don't have the rights to create a Space there"}, status=403)
            self.hub.made[name] = document
            return self.say({"url": f"{self.hub.url}/spaces/{name}"})
        if path == "/api/validate-yaml":
            return self.validate(document["content"])
        if "/preupload/" in path:
            modes = [
                {"path": line_entry["path"], "uploadMode": self.mode(line_entry), "shouldIgnore": False}
                for line_entry in document["files"]
            ]
            return self.say({"files": modes})
        if path.endswith("/info/lfs/objects/batch"):
            return self.say(
                {"transfer": "basic", "objects": [self.action(line_entry) for line_entry in document["objects"]]}
            )
        if path.endswith("/hardware"):
            self.hub.hardware[path.removeprefix("/api/spaces/").removesuffix("/hardware")] = document["flavor"]
            return self.say(self.runtime(document["flavor"]))
        return self.say({"error": f"POST {path}"}, status=404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        sha256 = urlsplit(self.path).path.rsplit("/", 1)[-1]
        if hashlib.sha256(content).hexdigest() != sha256:
            return self.say({"error": "other content"}, status=400)
        self.hub.stored[sha256] = content
        return self.say({})

    def is_known(self) -> bool:
        """Whether who asks is logged in; else they are told."""
        if self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return True
        self.say({"error": "Invalid username or password."}, status=401)
        return False

    @staticmethod
    def mode(file: dict[str, Any]) -> str:
        """How the Hub wants to have a file."""
        return "lfs" if file["size"] > GIT_MOST_BYTES or _is_binary(base64.b64decode(file["sample"])) else "regular"

    def action(self, expected: dict[str, Any]) -> dict[str, Any]:
        """Where a large file goes."""
        upload = {"href": f"{self.hub.url}/upload/{expected['oid']}", "header": {}}
        return {**expected, "authenticated": True, "actions": {"upload": upload}}

    def validate(self, readme: str) -> None:
        """Judge front matter."""
        lines = dict(line.split(": ", 1) for line in readme.split("---")[1].splitlines() if ": " in line)
        errors = [f'"{key}" must be one of {COLORS}' for key in ("colorFrom", "colorTo") if lines[key] not in COLORS]
        errors += ['"short_description" length must be at most 60'] * (len(lines.get("short_description", "")) > 60)
        answer = {"errors": [{"message": line_entry} for line_entry in errors], "warnings": []}
        self.say(answer, status=400 if errors else 200)

    def commit(self, space: str, lines: list[dict[str, Any]]) -> None:
        """Take a commit, or refuse it whole."""
        inside = {
            line_entry["value"]["path"]: base64.b64decode(line_entry["value"]["content"])
            for line_entry in lines
            if line_entry["key"] == "file"
        }
        large = {
            line_entry["value"]["path"]: line_entry["value"]["oid"]
            for line_entry in lines
            if line_entry["key"] == "lfsFile"
        }
        for name, content in inside.items():
            if _is_binary(content) or len(content) > GIT_MOST_BYTES:
                return self.say(
                    {"error": f"Your push was rejected because it contains binary files: {name}"}, status=400
                )
        if missing := [name for name, sha256 in large.items() if sha256 not in self.hub.stored]:
            return self.say({"error": f"LFS pointer without its content: {missing}"}, status=400)
        self.hub.regular |= inside
        self.hub.large |= large
        self.hub.removed += [line_entry["value"]["path"] for line_entry in lines if line_entry["key"] == "deletedFile"]
        return self.say(
            {"success": True, "commitUrl": f"{self.hub.url}/spaces/{space}/commit/{'1' * 40}", "commitOid": "1" * 40}
        )

    @staticmethod
    def runtime(hardware: str) -> dict[str, Any]:
        """A Space that is being built."""
        return {
            "stage": "BUILDING",
            "hardware": {"current": None, "requested": hardware},
            "storage": None,
            "gcTimeout": 1,
        }

    def say(self, answer: object, *, status: int = 200) -> None:
        """Answer."""
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _is_binary(content: bytes) -> bool:
    return b"\0" in content[:8000]
