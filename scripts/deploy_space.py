"""This folder as a Space of one's own, by one command: check it against the Hub's rules, make the Space, send it.

`python -m scripts.deploy_space USER/NAME [--zero-gpu] [--private] [--dry-run]`. Files go through the Hub's API, which
stores binary and large ones its own way, so neither git-lfs nor a `.gitattributes` is needed. Run it again to update.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from scripts.space_rules import folder_faults, outside_git, space_files

ROOT = Path(__file__).resolve().parents[1]
EXIT_FAULTS = 2
_MEGABYTE = 1e6
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
        The exit code: 0; 2 where the folder breaks a rule of the Hub's and nothing was sent; 1 where the Hub refused.
    """
    parser = argparse.ArgumentParser(prog="python -m scripts.deploy_space", description=__doc__.splitlines()[0])
    parser.add_argument("space", metavar="USER/NAME", help="what to call the Space")
    parser.add_argument("--zero-gpu", action="store_true", help="on a GPU that is lent by the second; else a free CPU")
    parser.add_argument("--private", action="store_true", help="seen by you alone")
    parser.add_argument("--dry-run", action="store_true", help="only check the folder, and send nothing")
    wished = parser.parse_args(arguments)
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
        url = deploy(root, files, wished.space, zero_gpu=wished.zero_gpu, private=wished.private)
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as err:
        status = err.response.status_code if isinstance(err, HfHubHTTPError) else 401
        reason = err.server_message if isinstance(err, HfHubHTTPError) and err.server_message else str(err)
        print(f"The Hub refuses: {reason.strip()} {_REMEDIES.get(status, 'Try again later.')}", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main())
