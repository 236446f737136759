"""What our ends of connections have in common, whatever is spoken on them: event loops, sockets, slow readers."""
