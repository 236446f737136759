"""Bytes to messages and back. Whatever the bytes, the only thing raised here is `ProtocolError`."""
