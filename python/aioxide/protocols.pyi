# asyncio.protocols under aioxide's name; submodules.py makes it.

from asyncio.protocols import *  # noqa: F403
