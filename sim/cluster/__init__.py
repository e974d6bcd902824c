"""Many jobs under one quota of replicas: requests in a compiled loop, decisions in plain Python."""
