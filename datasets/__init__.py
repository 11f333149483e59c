"""Datasets behind one interface (datasets.dataset), slices for training, and registration."""
