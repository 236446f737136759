"""The leaderless engine: every key its own single-decree Paxos register.

`engine` ties together: `acceptor` (votes, the only state that must survive), `proposer` (chains of steps,
relays), `reader` (quorum reads), `repair` (replicas that missed a chosen step). What they agree on:
`ballot`, `register`, `records`, `messages`.
"""
