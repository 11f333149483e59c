"""What writes files: each calls the tables and the figures that belong together."""
