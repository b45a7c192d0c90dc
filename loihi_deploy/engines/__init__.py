"""What steps a network: chip and host in plain numpy and in compiled code, and the float networks."""
