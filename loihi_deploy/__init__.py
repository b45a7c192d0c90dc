"""Deploy networks trained with Keras or NengoDL on Intel's Loihi chips and boards."""

__version__ = "0.1.0"
