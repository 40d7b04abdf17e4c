"""Whole jobs, measured: how many a second, how long each stage takes, what a job costs in processor time."""
