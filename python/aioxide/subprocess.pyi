# asyncio.subprocess under aioxide's name; submodules.py makes it.

# isort: off
from asyncio.subprocess import (
    DEVNULL as DEVNULL,
    PIPE as PIPE,
    STDOUT as STDOUT,
    Process as Process,
    SubprocessStreamProtocol as SubprocessStreamProtocol,
)

from aioxide import (
    create_subprocess_exec as create_subprocess_exec,
    create_subprocess_shell as create_subprocess_shell,
)
