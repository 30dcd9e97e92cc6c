"""Reading jaxsnn's topologies."""
