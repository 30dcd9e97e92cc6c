"""Networks simulated in continuous time, from event to event."""
