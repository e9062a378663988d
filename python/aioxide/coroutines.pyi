# asyncio.coroutines under aioxide's name; submodules.py makes it.

from asyncio.coroutines import *  # noqa: F403
