# asyncio.transports under aioxide's name; submodules.py makes it.

from asyncio.transports import *  # noqa: F403
