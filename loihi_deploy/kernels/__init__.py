"""Compiled building blocks that the emulator and the host parts share."""
