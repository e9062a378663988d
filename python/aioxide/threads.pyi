# asyncio.threads under aioxide's name; submodules.py makes it.

# isort: off
from aioxide import (
    to_thread as to_thread,
)
