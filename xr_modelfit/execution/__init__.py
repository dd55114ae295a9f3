"""Blocks, schedulers, processes and progress."""
