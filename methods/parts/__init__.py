"""What methods are built from: losses, views, teachers, contrast."""
