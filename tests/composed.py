"""The services of compose files as processes of this machine: their commands, variables and health checks."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.harness import eventually

CLI = [sys.executable, "-m", "a2a_grpc"]


class Service:
    """A service of the file as a process. Addresses of containers are replaced by addresses of this machine."""

    def __init__(self, service: dict[str, Any], places: dict[str, str], folder: Path) -> None:
        self._service = service
        self._folder = folder
        self.env = {**os.environ, **{key: placed(text, places) for key, text in service["environment"].items()}}
        self.process: asyncio.subprocess.Process

    async def run(self, command: list[str]) -> asyncio.subprocess.Process:
        assert command[0] == "a2a-grpc"
        return await asyncio.create_subprocess_exec(
            *CLI, *command[1:], cwd=self._folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    async def up(self) -> None:
        """Start the service, and wait until its health check succeeds."""
        self.process = await self.run(self._service["command"])
        await eventually(self._is_healthy, within_s=60)

    async def _is_healthy(self) -> None:
        form, *command = self._service["healthcheck"]["test"]
        assert form == "CMD"
        check = await self.run(command)
        out, err = await check.communicate()
        assert check.returncode == 0, (out, err)

    async def down(self) -> None:
        """Stop the service as Docker does: SIGTERM, and ten seconds."""
        self.process.terminate()
        await asyncio.wait_for(self.process.communicate(), 10)


def placed(text: str, places: dict[str, str]) -> str:
    for there, here in places.items():
        text = text.replace(there, here)
    return text
