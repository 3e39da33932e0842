"""The files of conf/ that the package carries, read alike from a folder, an installed wheel and a zip."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

PACKAGED_CONF = files("clm_spark") / "conf"


def conf_file(name: str) -> Traversable:
    """The file of that name; where there is none and the name begins with `conf/`, the package's own."""
    file = Path(name)
    if file.exists() or file.parts[:1] != ("conf",):
        return file
    packaged = PACKAGED_CONF.joinpath(*file.parts[1:])
    return packaged if packaged.is_file() else file
