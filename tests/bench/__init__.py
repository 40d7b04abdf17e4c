"""Measurements, one module per subject, run by `make bench`; nothing here is a test."""
