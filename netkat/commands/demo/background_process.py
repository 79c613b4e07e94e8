"""A process that runs as long as the demo; it prints "ready" when it is."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Sequence

from netkat.commands.demo.tools import ENVIRONMENT, DemoFailed

_READY_SECONDS = 5


class BackgroundProcess:
    """Runs ``argv`` until ``close()``; returns once it has printed "ready".

    Its stdin is a pipe that it watches: even after our SIGKILL the kernel closes that.
    Errors: DemoFailed when it is not ready within five seconds.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(argv)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill it; idempotent."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def _wait_until_ready(self, argv: Sequence[str]) -> None:
        out, err = self._process.stdout, self._process.stderr
        assert out is not None and err is not None
        speaks, _, _ = select.select([out], [], [], _READY_SECONDS)
        if not speaks:
            raise DemoFailed(f"demo: {' '.join(argv)}: not ready after {_READY_SECONDS} s")
        if out.readline() != "ready\n":
            said = err.read().strip().splitlines() or ["ended at once"]
            raise DemoFailed(f"demo: {' '.join(argv)}: {said[-1]}")
