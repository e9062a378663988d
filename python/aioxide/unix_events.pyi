# asyncio.unix_events under aioxide's name; submodules.py makes it.

from asyncio.unix_events import *  # noqa: F403
