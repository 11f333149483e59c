"""What can be said of scores that are samples: means, differences, ranks, and how sure they are. Arrays in, numbers out."""
