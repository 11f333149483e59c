"""One cell, from data to record."""
