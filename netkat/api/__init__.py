"""The public Python API: Stack, the default stack and asyncio."""
