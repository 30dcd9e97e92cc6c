"""The torch target: a trainable module, compiled kernels where they pay, a folder for torch."""
