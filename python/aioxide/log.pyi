# asyncio.log under aioxide's name; submodules.py makes it.

from asyncio.log import *  # noqa: F403
