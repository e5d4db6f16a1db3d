"""Runs handed to something else: jobs of a Ray cluster, or Ray clusters on Kubernetes."""
