"""The arguments of a call as they were meant. Pure and bounded."""
