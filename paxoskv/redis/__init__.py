"""The Redis door: the client port also speaks RESP2 and RESP3, so that every Redis client and tool works.

`parser` and `replies` are the bytes, `commands` what they mean, `session` what a connection remembers, `connection` the
order in which commands of one connection go to the engine and answers back.
"""
