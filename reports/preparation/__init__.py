"""What a study has before it trains: its dataset, and the labels that registrations carry over."""
