# asyncio.constants under aioxide's name; submodules.py makes it.

from asyncio.constants import *  # noqa: F403
