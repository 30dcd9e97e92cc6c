"""Scripts and files for the vendor's software."""
