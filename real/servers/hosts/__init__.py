"""What runs inside other servers: their models' code, and the processes that start those which have no command."""
