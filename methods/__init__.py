"""Semi-supervised segmentation methods behind one interface (methods.method)."""
