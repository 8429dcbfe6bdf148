"""A stand-in for macOS and Windows: this process without what those systems lack, running the command line.

Gone are calls that only POSIX or Linux has. Files that are open can't be renamed or removed, and names that Windows
refuses can't be made, as there. `python -m tests.app.laptop ARGUMENTS…` runs `python -m api ARGUMENTS…` so.
"""

import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

LACKING = (
    *("sched_getaffinity", "sched_setaffinity", "sched_yield", "process_cpu_count"),
    *("fork", "forkpty", "setsid", "getpgid", "killpg", "nice", "getpriority", "register_at_fork", "posix_spawn"),
    *("getuid", "geteuid", "getgid", "getegid", "getgroups", "chown", "fchown", "lchown"),
    *("statvfs", "fstatvfs", "sysconf", "confstr", "uname", "getloadavg", "sync", "sendfile", "copy_file_range"),
    *("mkfifo", "mknod", "pread", "pwrite", "preadv", "pwritev", "pipe2", "memfd_create", "posix_fallocate"),
    *("posix_fadvise"),
)
LIBRARIES = ("psutil", "torch")
"""What knows by itself which system it is on, and asks for Linux's calls where it is."""
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def become_a_laptop() -> None:
    """Take away what other systems lack; for the rest of this process."""
    os.environ.setdefault("LOGNAME", "somebody")  # which Python asks for before it asks a POSIX system
    for name in LIBRARIES:
        import_module(name)
    for name in LACKING:
        if hasattr(os, name):
            delattr(os, name)
    for name in ("unlink", "remove", "rename", "replace"):
        setattr(os, name, _refusing_files_in_use(getattr(os, name)))
    sys.addaudithook(_refuse_names)


def _refusing_files_in_use(call: Callable[..., None]) -> Callable[..., None]:
    def called(path: Any, *more: Any, **options: Any) -> None:
        folder = options.get("dir_fd")
        for one in (path, *more):
            whole = Path(f"/proc/self/fd/{folder}" if folder is not None else ".", os.fsdecode(one))
            if whole.is_file() and str(whole.resolve()) in _files_in_use():
                raise PermissionError(13, "The process cannot access the file because it is being used", str(one))
        call(path, *more, **options)

    return called


def _files_in_use() -> set[str]:
    """What this process and its children have open or mapped."""
    me = os.getpid()
    used = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text("utf-8").splitlines()}
    children = Path(f"/proc/{me}/task/{me}/children").read_text("utf-8").split()
    for process in (me, *children):
        for opened in Path(f"/proc/{process}/fd").glob("*"):
            try:
                used.add(str(opened.readlink()))
            except OSError:  # closed meanwhile
                continue
    return used


def _refuse_names(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to make a file or folder whose name Windows does not allow."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.mkdir", "os.rename", "os.link"):
        for path in arguments[: 1 if event in ("open", "os.mkdir") else 2]:
            if isinstance(path, (str, bytes, os.PathLike)):
                name = os.path.basename(os.fsdecode(path).rstrip("/"))  # noqa: PTH119 - a Path would be normal again
                if FORBIDDEN.search(name) and not os.fsdecode(path).startswith(("/dev", "/proc")):
                    raise OSError(22, "The filename, directory name, or volume label syntax is incorrect", path)


if __name__ == "__main__":
    become_a_laptop()
    from api.command_line.main import main

    sys.exit(main(sys.argv[1:]))
