"""Training networks that are meant for the chip."""

from loihi_deploy.frontends.chip_activations import chip_activation_class
from loihi_deploy.training.conversion import folded, with_chip_neurons
from loihi_deploy.training.encoders import with_encoder
from loihi_deploy.training.fine_tuning import FineTuned, fine_tune
from loihi_deploy.training.loop import Epoch, retrain
from loihi_deploy.training.penalties import EventPenalty, RateRange, energy_costs, event_costs
from loihi_deploy.training.quantized import QuantizedWeights
from loihi_deploy.training.rates import FiringRates
from loihi_deploy.training.recipes import few_steps_convnet, moved_images, train_convnet
from loihi_deploy.training.recurrence import with_recurrence
from loihi_deploy.training.rewriting import with_chip_layers
from loihi_deploy.training.surrogate import SurrogateChip

__all__ = [
    "Epoch",
    "EventPenalty",
    "FineTuned",
    "FiringRates",
    "QuantizedWeights",
    "RateRange",
    "SurrogateChip",
    "chip_activation_class",
    "energy_costs",
    "event_costs",
    "few_steps_convnet",
    "fine_tune",
    "folded",
    "moved_images",
    "retrain",
    "train_convnet",
    "with_chip_layers",
    "with_chip_neurons",
    "with_encoder",
    "with_recurrence",
]
