# asyncio.events under aioxide's name; submodules.py makes it.

from asyncio.events import *  # noqa: F403

from aioxide import get_event_loop as get_event_loop
from aioxide import new_event_loop as new_event_loop
