"""What registration gives any method that switches it on: RSL and REPS."""
