# asyncio.exceptions under aioxide's name; submodules.py makes it.

from asyncio.exceptions import *  # noqa: F403
