"""What people ask of a root: status, outlook, queries."""
