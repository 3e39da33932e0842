"""Make a copy of PyPI's torch small, for machines without a GPU: 3.4 GB of it serve nothing else.

That torch exists with CUDA alone on x86-64 Linux, and does not load without the NVIDIA libraries it links. A stand-in
of kilobytes has the names of a library's functions; each returns 1, an error in all of them. CUDA's runtime is called
while torch loads: it stays. The kernels inside torch's own libraries become zeros, which cost nothing to pack.
"""

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

RUNTIME = "libcudart.so"
KERNELS = re.compile(r" \.nv_fatbin +PROGBITS +\S+ (\S+) (\S+)")  # offset and size, hexadecimal
RETURNS_ONE = {"x86_64": "mov $1, %eax\nret\n", "aarch64": "mov w0, #1\nret\n"}


def without_cuda(site: Path) -> None:
    """Make the torch in `site`, a copy of .venv's, one for CPUs."""
    write_stand_ins(site)
    for library in (site / "torch/lib").glob("*.so"):
        blank_kernels(library)


def write_stand_ins(site: Path) -> None:
    installed = Path(sys.prefix) / site.relative_to(site.parents[2])
    linked = needed_by(installed / "torch/lib")
    for library in (installed / "nvidia").rglob("lib*.so*"):
        if library.name in linked:
            copy = site / library.relative_to(installed)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if library.name.startswith(RUNTIME):
                shutil.copy2(library, copy)
            else:
                compile_stand_in(library, copy)


def needed_by(folder: Path) -> set[str]:
    """The names of the libraries that the libraries of a folder link."""
    listed = subprocess.run(["readelf", "--dynamic", *folder.glob("*.so")], capture_output=True, text=True, check=True)
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", listed.stdout))


def compile_stand_in(library: Path, copy: Path) -> None:
    functions = functions_of(library)
    names = sorted({name for version in functions.values() for name in version})
    source = [".text", *(f".globl {name}" for name in names), *(f"{name}:" for name in names)]
    versions = "".join(
        f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in functions.items() if version
    )
    with tempfile.TemporaryDirectory() as folder:
        assembly, script = Path(folder) / "functions.s", Path(folder) / "versions"
        ends = f'{RETURNS_ONE[platform.machine()]}.section .note.GNU-stack,"",%progbits\n'
        assembly.write_text("\n".join([*source, ends]))
        script.write_text(versions)
        options = [f"-Wl,-soname,{library.name}", *([f"-Wl,--version-script={script}"] if versions else [])]
        subprocess.run(["gcc", "-shared", "-nostdlib", assembly, "-o", copy, *options], check=True)


def blank_kernels(library: Path) -> None:
    listed = subprocess.run(["readelf", "--sections", "--wide", library], capture_output=True, text=True, check=True)
    with library.open("r+b") as file:
        for offset, size in KERNELS.findall(listed.stdout):
            file.seek(int(offset, 16))
            file.write(bytes(int(size, 16)))


def functions_of(library: Path) -> dict[str, list[str]]:
    """What a library exports, by symbol version; the empty one where it has none."""
    asked = ["nm", "--dynamic", "--defined-only", "--with-symbol-versions", library]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    functions = defaultdict(list)
    for kind, exported in re.findall(r"^\S+ (\S) (\S+)$", listed, flags=re.MULTILINE):
        name, _, version = exported.partition("@")
        if kind != "A":  # the version's own name
            functions[version.lstrip("@")].append(name)
    return functions
