"""C99 programs for hosts and for embedded devices."""
