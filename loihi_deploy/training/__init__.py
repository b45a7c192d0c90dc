"""Training networks that are meant for the chip."""

from loihi_deploy.training.encoders import with_encoder
from loihi_deploy.training.recipes import train_convnet
from loihi_deploy.training.rewriting import with_chip_layers

__all__ = ["train_convnet", "with_chip_layers", "with_encoder"]
