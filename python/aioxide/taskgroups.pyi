# asyncio.taskgroups under aioxide's name; submodules.py makes it.

# isort: off
from aioxide import (
    TaskGroup as TaskGroup,
)
