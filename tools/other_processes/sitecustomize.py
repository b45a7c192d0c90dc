"""Read by every Python that a test of `tools.mutate` starts: it gives the changed source for the module's own."""

import os
from importlib.machinery import SourceFileLoader
from pathlib import Path

_read = SourceFileLoader.get_code
_target = os.environ.get("CHANGED_MODULE", "")


def _get_code(loader, name):  # type: ignore[no-untyped-def]
    if loader.path != _target:
        return _read(loader, name)
    source = Path(os.environ["CHANGED_SOURCE"]).read_bytes()
    return compile(source, _target, "exec", dont_inherit=True)


if _target:
    SourceFileLoader.get_code = _get_code  # type: ignore[method-assign]
