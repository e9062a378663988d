# asyncio.base_events under aioxide's name; submodules.py makes it.

# isort: off
from aioxide import (
    BaseEventLoop as BaseEventLoop,
    Server as Server,
)
