"""Load generators that are not `paxoskv bench`, each with its system's own client."""
