"""What is kept: a cell's identity and code, the store, and the table that is read from it."""
