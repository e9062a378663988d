# asyncio.graph (3.14) under aioxide's name; submodules.py makes it.

import sys

if sys.version_info >= (3, 14):
    from asyncio.graph import *  # noqa: F403
