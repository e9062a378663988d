"""asyncio's submodules under aioxide's name, for programs that `import aioxide as asyncio`.

`asyncio.locks.Lock` is then aioxide's, and so is what `from aioxide.queues import Queue` imports.
Where aioxide has nothing of its own, its submodule is asyncio's; elsewhere it is a module object
that keeps nothing: it answers with aioxide's own object if there is one for the name, and otherwise
with what the submodule of asyncio has at that moment. So a name that becomes native needs no second
entry here. The `.pyi` files beside this one say the same to type checkers.
"""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

# Names of aioxide's that the running asyncio may not have yet, and the submodule for them.
_HOMES = {"QueueShutDown": "queues"}


class Submodule(ModuleType):
    """Stands for a submodule of asyncio some of whose names are aioxide's."""

    def __init__(self, name: str, stock: ModuleType, own: Mapping[str, object]) -> None:
        super().__init__(name, stock.__doc__)
        self._stock = stock
        self._own = own
        public = getattr(stock, "__all__", ())
        self.__all__ = (*public, *(each for each in own if each in _HOMES and each not in public))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._own[name] if name in self._own else getattr(self._stock, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._stock), *self._own})


def provide(own: Mapping[str, object]) -> dict[str, ModuleType]:
    """Make `aioxide.locks` and the rest importable, and return them by their names in aioxide."""
    made: dict[str, ModuleType] = {}
    for path, stock in list(sys.modules.items()):
        package, _, name = path.partition(".")
        ours = f"aioxide.{name}"
        if package != "asyncio" or not name or name == "__main__" or ours in sys.modules:
            continue  # aioxide.runners, for one, is a module like any other
        known = {
            each: value
            for each, value in own.items()
            if each in vars(stock) or _HOMES.get(each) == name
        }
        made[name] = Submodule(ours, stock, known) if known else stock
        sys.modules[ours] = made[name]
    return made
