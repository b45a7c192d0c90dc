"""What a chip and a board are, and the integers that a core computes with."""
