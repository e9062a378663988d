# asyncio.futures under aioxide's name; submodules.py makes it.

# isort: off
import sys

from aioxide import (
    Future as Future,
    isfuture as isfuture,
    wrap_future as wrap_future,
)

if sys.version_info >= (3, 14):
    from aioxide import future_add_to_awaited_by as future_add_to_awaited_by
    from aioxide import future_discard_from_awaited_by as future_discard_from_awaited_by
