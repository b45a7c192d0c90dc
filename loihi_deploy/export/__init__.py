"""Deployments for other tools."""

from loihi_deploy.export.sanafe import to_sanafe

__all__ = ["to_sanafe"]
