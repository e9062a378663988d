# asyncio.timeouts under aioxide's name; submodules.py makes it.

# isort: off
from aioxide import (
    Timeout as Timeout,
    timeout as timeout,
    timeout_at as timeout_at,
)
