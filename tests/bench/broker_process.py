"""The project's own broker as a process, where mosquitto is not installed."""

import asyncio
import signal
import sys

from simulators.broker import Broker, Limits


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Broker(port=port, limits=Limits(queue=100_000)):
        print("listening", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
