"""ACDC in its two layouts."""
