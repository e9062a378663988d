"""`python -m aioxide`, which is the `aioxide` command."""

import sys

from aioxide.command import main

if __name__ == "__main__":
    sys.exit(main())
