"""paxoskv beside other systems, in one run on one machine."""
