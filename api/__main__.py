"""`python -m api "a red circle moving right" -o clip.mp4`."""

import sys

from api.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
