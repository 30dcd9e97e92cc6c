"""Tests of the IPU target."""
