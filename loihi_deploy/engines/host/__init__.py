"""What runs on the host: neurons that encode real values in spikes, and the readout that decodes spikes."""
