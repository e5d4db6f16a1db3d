"""Model files on their way: from a hub, a folder or a bucket to the machines that work, and back."""
