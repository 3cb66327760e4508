"""The pure core: chat events in, judgements out. No sockets, files, clock, randomness, asyncio, logging or metrics."""
