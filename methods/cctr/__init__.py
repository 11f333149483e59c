"""CCT-R: contrastive cross-teaching with registration, and the parts that other methods may borrow."""
