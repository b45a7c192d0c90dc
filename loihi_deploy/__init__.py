"""Deploy networks trained with Keras or NengoDL on Intel's Loihi: in fixed point, split over cores, chips and boards."""

__version__ = "0.1.0"
