"""Leaderboards and figures: pure functions of records. Statistics carry tables, tables figures and the page, and writing puts down all."""
