"""What a solver says while it works: one line that changes, and its last words."""

import logging

from rich.console import Console

_logger = logging.getLogger("overspill.linalg")


class Solving(logging.Handler):
    """Shows the last line that a solver has logged, from `begin` to `end`.

    Attributes
    ----------
    last
        That line; empty if there was none.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.last = ""
        self._status = console.status("solving")

    def begin(self) -> None:
        """Listen and show."""
        self._level = _logger.level
        _logger.setLevel(logging.INFO)
        _logger.addHandler(self)
        self._status.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a line."""
        self.last = record.getMessage()
        self._status.update(f"solving   {self.last}")

    def end(self) -> None:
        """Show and listen no more; a second time does nothing."""
        if self in _logger.handlers:
            _logger.removeHandler(self)
            _logger.setLevel(self._level)
            self._status.stop()
