"""Writing networks for jaxsnn."""
