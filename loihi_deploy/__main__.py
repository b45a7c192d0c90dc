"""``python -m loihi_deploy`` is ``loihi-deploy``."""

from loihi_deploy.cli import main

main()
