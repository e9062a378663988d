# asyncio.locks under aioxide's name; submodules.py makes it.

# isort: off
from aioxide import (
    Barrier as Barrier,
    BoundedSemaphore as BoundedSemaphore,
    Condition as Condition,
    Event as Event,
    Lock as Lock,
    Semaphore as Semaphore,
)
