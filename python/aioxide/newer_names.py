"""What newer versions of asyncio have and the running one lacks, where aioxide offers it anyway."""


class QueueShutDown(Exception):  # noqa: N818 - asyncio's name for it
    """Raised when putting on to or getting from a shut-down Queue."""

    __module__ = "aioxide"
