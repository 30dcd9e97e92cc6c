"""The emulated chip; most of it is copied into emitted folders."""
