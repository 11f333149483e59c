"""The report as one HTML page: its rows, its sentences, its template."""
