"""What a run leaves behind: a lane of lines for each end, and one for the loop.

What is normalised, and why:
  * data that arrives in several calls of one round is one line: where TCP cuts is no promise;
  * how the two ends' callbacks interleave is not compared, only each end's own order: which of
    two sockets that are ready in one turn comes first is the kernel's to say;
  * `bulk` scripts say once in each round that data arrived, and not how much; and of flow control
    in each round whether there was a pause and whether it still holds: how often a buffer crosses
    its marks on the way depends on the sizes of sends, which differ. That the bytes are the right
    ones is checked all the same, and how many they were if the stream came to its end;
  * in `bulk` scripts a connection that is lost with a reset, a broken pipe, or an EOF just before,
    is simply lost with an error: which of them the kernel says depends on what was unread;
  * when a write fails because the other end is gone: asyncio's transport sends in write(), one
    that sends at the end of the step learns of it there. So scripts ask for the size of the write
    buffer after such a write, which makes any transport send; and the context in which
    connection_lost() is called with such an error, the writer's or the step's, is not compared,
    nor in `bulk` scripts, where it is that of the last write that found the kernel full;
  * addresses, line numbers and descriptors in texts.
"""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"_ssl\.c:\d+|0x[0-9a-f]+|fd=\d+|/[^ ]*\.py:\d+|\('127\.0\.0\.1', \d+\)")


def tidy(text: str) -> str:
    """A text without what differs from run to run."""
    return _NUMBERS.sub("#", text)


def told(error: BaseException | None) -> str:
    """An exception, its type and text."""
    return "None" if error is None else tidy(f"{type(error).__name__}({error})")


class Lane:
    """One end's lines."""

    def __init__(self, name: str, *, bulk: bool) -> None:
        self.name = name
        self.bulk = bulk
        self.lines: list[str] = []
        self.size = 0  # of the data line that may still grow
        self.told = False  # in this round, of a bulk script
        self.paused = False
        self.crossed = False
        self._context: object = None

    def note(self, line: str) -> None:
        """A line of its own."""
        self._flush()
        if self.bulk and line.startswith("lost ") and not line.startswith("lost None"):
            line = "lost with an error"
            if self.lines and self.lines[-1].startswith("eof"):
                self.lines.pop()
        self.lines.append(line)

    def data(self, size: int, context: object) -> None:
        """Data has arrived."""
        if not self.size:
            self._context = context
        self.size += size

    def flow(self, event: str, context: object) -> None:
        """Writing was paused or resumed."""
        if not self.bulk:
            self.note(f"{event} in {context}")
        elif self.paused == (event == "pause"):
            self.note(f"{event} twice")
        self.paused = event == "pause"
        self.crossed = True

    def end_of_round(self) -> None:
        """Nothing happens any more."""
        self._flush()
        if self.bulk and self.crossed:
            self.lines.append(f"flow was controlled, paused {self.paused}")
        self.crossed = self.told = False

    def mark(self, line: str) -> None:
        """A line that is only worth having after others."""
        if self.lines and not self.lines[-1].startswith("--"):
            self.lines.append(line)

    def _flush(self) -> None:
        if self.size and not self.bulk:
            self.lines.append(f"data {self.size} in {self._context}")
        elif self.size and not self.told:
            self.told = True
            self.lines.append(f"data in {self._context}")
        self.size = 0
