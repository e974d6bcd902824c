"""The scenario language, and what both backends must share: arrivals, keyed draws, client profiles."""
