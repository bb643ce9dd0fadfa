"""What carries out the steps of calls: one for threads, one for asyncio."""
