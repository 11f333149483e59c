"""What tables look like: every picture of a report. The same tables give the same bytes."""
