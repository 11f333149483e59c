"""Leaderboards and figures: pure functions of records."""
