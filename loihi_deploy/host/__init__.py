"""What runs on the host: neurons that encode real values in spikes, and the readout that decodes spikes."""

from loihi_deploy.host.network import spiking_outputs, spiking_rates

__all__ = ["spiking_outputs", "spiking_rates"]
