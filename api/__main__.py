"""`python -m api "a red circle moving right" -o clip.mp4`."""

import os
import sys

from api.command_line.main import main
from pipelines.plan.settings import HUB_MODELS

if __name__ == "__main__":
    os.environ.setdefault(HUB_MODELS, "any")  # who sits at a terminal may load what they like
    sys.exit(main())
