"""This folder as a Space of one's own, by one command: check it against the Hub's rules, make the Space, send it.

`python -m scripts.deploy_space USER/NAME [--zero-gpu] [--private] [--dry-run]`. Files go through the Hub's API, which
stores binary and large ones its own way, so neither git-lfs nor a `.gitattributes` is needed. Run it again to update.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2  # the HTTP library of huggingface_hub
from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from scripts.space_rules import folder_faults, outside_git, space_files

ROOT = Path(__file__).resolve().parents[1]
EXIT_FAULTS = 2
_MEGABYTE = 1e6
_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, HFValidationError, LocalTokenNotFoundError, UnicodeError, OSError)
_BEFORE_NAME = re.compile(r"(?:https?://[\w.:-]+/)?(?:spaces/)?")  # of an address
_REMEDIES = {
    401: "Log in with `hf auth login`, by a token that may write, or set HF_TOKEN to one.",
    402: "This hardware costs money, and the account has no means of payment. Leave --zero-gpu out, or add one.",
    403: "The token may not do this. Make one that may write to your Spaces, at huggingface.co/settings/tokens.",
    404: "There is no such account. Name your own, as in `hf auth whoami`.",
}


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Check and deploy.

    Args:
        arguments: The words after the program's name; `sys.argv` if not given.
        root: The folder to send.

    Returns:
        The exit code: 0; 2 where the name or the folder breaks a rule of the Hub's and nothing was sent; 1 where the
        Hub refused, or could not be asked.
    """
    parser = argparse.ArgumentParser(prog="python -m scripts.deploy_space", description=__doc__.splitlines()[0])
    parser.add_argument("space", metavar="USER/NAME", help="what to call the Space")
    parser.add_argument("--zero-gpu", action="store_true", help="on a GPU that is lent by the second; else a free CPU")
    parser.add_argument("--private", action="store_true", help="seen by you alone")
    parser.add_argument("--dry-run", action="store_true", help="only check the folder, and send nothing")
    wished = parser.parse_args(arguments)
    space = _name_in(wished.space)
    if not space:
        rule = "an account, a slash and a name of letters, digits, '-', '_' and '.'"
        print(f"USER/NAME must be {rule}, got {wished.space[:80]}. Write anna/my-studio.", file=sys.stderr)
        return EXIT_FAULTS
    files = space_files(root)
    faults = folder_faults(root, zero_gpu=wished.zero_gpu)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return EXIT_FAULTS
    large = outside_git(root, files)
    size = sum((root / name).stat().st_size for name in files) / _MEGABYTE
    print(f"{len(files)} files, {size:.0f} MB; {len(large)} of them binary or above 10 MB, which a plain push refuses.")
    if wished.dry_run:
        return 0
    try:
        url = deploy(root, files, space, zero_gpu=wished.zero_gpu, private=wished.private)
    except _FAILURES as err:
        print(_in_words(err), file=sys.stderr)
        return 1
    print(f"{url} is being built; that takes some ten minutes, and its page tells how it goes.")
    return 0


def deploy(root: Path, files: Sequence[str], space: str, *, zero_gpu: bool, private: bool) -> str:
    """Make the Space, or find it, and have it be these files and no others.

    Args:
        root: Where the files are.
        files: Their paths in it.
        space: "user/name".
        zero_gpu: On a GPU that is lent, or on a free CPU.
        private: Whether a Space that is made now is seen by its owner alone.

    Returns:
        Its address.

    Raises:
        HfHubHTTPError: The Hub refuses.
    """
    api = HfApi()
    api.whoami()
    hardware = SpaceHardware.ZERO_A10G if zero_gpu else SpaceHardware.CPU_BASIC
    made = api.create_repo(space, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
    api.upload_folder(
        repo_id=space,
        repo_type="space",
        folder_path=root,
        allow_patterns=list(files),
        delete_patterns="*",
        commit_message="Bring the studio up to date",
    )
    if zero_gpu or api.get_space_runtime(space).hardware not in (None, hardware):
        api.request_space_hardware(space, hardware)
    return str(made)


def _name_in(text: str) -> str:
    """The name of a Space in what was written for it, perhaps its address; empty where the Hub takes no such name."""
    name = text[found.end() :].rstrip("/") if (found := _BEFORE_NAME.match(text)) else text
    try:
        validate_repo_id(name)
    except HFValidationError:
        return ""
    return name if "/" in name else ""


def _in_words(err: Exception) -> str:
    """Why nothing came of it; what is quoted may hold a token or a password, unless the Hub itself says it."""
    if isinstance(err, UnicodeError):
        return "HF_TOKEN must be letters and digits as the Hub gives them, got others. Copy it anew."
    if isinstance(err, (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError)):
        status = err.response.status_code if isinstance(err, HfHubHTTPError) else 401
        reason = err.server_message if isinstance(err, HfHubHTTPError) and err.server_message else str(err)
        return f"The Hub refuses: {reason.strip()} {_REMEDIES.get(status, 'Try again later.')}"
    return f"The Hub can't be reached ({type(err).__name__}). Check the connection, and HF_ENDPOINT where it is set."


if __name__ == "__main__":
    sys.exit(main())
