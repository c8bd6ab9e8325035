"""With websockets, on asyncio."""
