"""CCT-R: contrastive cross-teaching with registration."""
