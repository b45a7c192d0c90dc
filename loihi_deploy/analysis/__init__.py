"""What a network does once it is in integers: settings found by running it, and where accuracy goes."""
