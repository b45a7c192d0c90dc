"""Deployments for other tools."""

from loihi_deploy.export.board_folder import to_board_runner
from loihi_deploy.export.nengo import to_nengo
from loihi_deploy.export.netx import to_netx
from loihi_deploy.export.nir import to_nir
from loihi_deploy.export.sanafe import to_sanafe

__all__ = ["to_board_runner", "to_nengo", "to_netx", "to_nir", "to_sanafe"]
