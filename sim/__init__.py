"""The simulator: programs, the SimPy reference, the compiled loop and the costs they consume."""
