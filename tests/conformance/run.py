"""The same as ``python -m tests.conformance``, for those who reach for a file and not for a module.

All it adds is the import path, so that it works from any directory.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.conformance.__main__ import main  # noqa: E402  (the path has to be there first)

if __name__ == "__main__":
    sys.exit(main())
