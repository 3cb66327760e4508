"""A measurement in a process of its own: what one leaves in memory no other one meets."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from typing import Any, Final

from bench.faults.servers import leash
from bench.part import ROOT, NotMeasured

#: A measurement that takes longer hangs.
WITHIN_S: Final = 1800.0


def apart(what: str, **given: Any) -> Any:
    """Call `module:function` with keywords in a new process; arguments and answer are JSON. Raises NotMeasured."""
    command = [*leash(), sys.executable, "-W", "ignore", "-m", "bench.apart", what, json.dumps(given)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as here:  # Faust writes its data directory where it stands
        try:
            ended = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False, cwd=here, env=env)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"{what}: no answer within {WITHIN_S:.0f} s") from None
    if ended.returncode:
        raise NotMeasured(f"{what}: {ended.stderr.decode(errors='replace').strip().rpartition(chr(10))[2]:.300}")
    return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
    """Do what a parent asks."""
    module, _, name = sys.argv[1].partition(":")
    answer = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print(json.dumps(asyncio.run(answer) if inspect.iscoroutine(answer) else answer))


if __name__ == "__main__":
    main()
