"""The log engine: Raft, one log for all keys, and the baseline of every comparison.

Source: Ongaro, *Consensus: Bridging Theory and Practice* (2014), here "the dissertation", and the extended Raft
paper.

`engine` ties together: `election` (terms and votes), `leader` (replication, commitment, read rounds, transfer),
`snapshot` (for who is behind the log), `origin` (what this node's clients ask), `machine` (the replicated state), `log`
and `records` (what is in memory of them). What they agree on: `entry`, `messages`.
"""
