"""Inputs of jobs: what is fetched for nodes."""
