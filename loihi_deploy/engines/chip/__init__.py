"""The chip in software: a plain reference engine, and a fast one that equals it."""
