"""The client library: `client` for asyncio, `blocking` for everybody else, both on `connection`."""
