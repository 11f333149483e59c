"""What records come to: computed tables, and their text forms. Nothing here draws."""
