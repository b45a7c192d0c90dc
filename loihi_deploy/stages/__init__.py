"""The stages from a float graph to a program: each takes one frozen value and returns the next."""
