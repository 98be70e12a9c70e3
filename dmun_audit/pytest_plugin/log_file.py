"""The log of an audit with pytest's `--log-level`: a file for each process in the run folder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from dmun_audit._util.errors import StoreError
from dmun_audit.store.files import reported

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class LogFile(logging.FileHandler):
    """Log messages of the package in one file. A message that cannot be written raises nothing where it was logged.

    Attributes:
        failure: The error of the first message that could not be written, as text; empty if there is none.
    """

    failure: str = ""

    def handleError(self, record: logging.LogRecord) -> None:
        """Note that a message could not be written, such as on a full disk."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._note(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file. Messages that are still in memory may be lost, which `failure` says."""
        try:
            super().close()
        except OSError as error:
            self._note(error)

    def end(self) -> str:
        """Detach the file from the package's messages and close it. Returns `failure`."""
        logging.getLogger("dmun_audit").removeHandler(self)
        self.close()
        return self.failure

    def _note(self, error: OSError) -> None:
        words = (f"cannot write {self.baseFilename}", error.strerror or str(error), "free space or choose another folder")
        self.failure = self.failure or str(StoreError(*words))


def open_log(run_folder: Path, worker: str, level: str) -> LogFile:
    """Begin to write log messages of the package from `level` on to `logs/WORKER.log` in the run folder.

    Raises StoreError if the file cannot be created.
    """
    path = run_folder / "logs" / f"{worker}.log"
    with reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger("dmun_audit")
    logger.addHandler(handler)
    logger.setLevel(int(level) if level.isdigit() else level.upper())
    return handler
