"""What people write today, each as a script of its own; run by path, never imported."""
