"""Generates the stubs with protoc while the package is built.

Needs protoc and grpc_python_plugin on the PATH (Debian: protobuf-compiler and
protobuf-compiler-grpc). The protos are those of the repository, or `protos/`
beside this file, where an sdist has them.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent


def find_protos():
    for folder in (HERE / "protos", HERE.parent.parent / "protos"):
        if (folder / "socketbroker" / "v1").is_dir():
            return folder
    raise FileNotFoundError(f"no protos in {HERE / 'protos'} nor in the repository's protos/")


def find_tool(name, package):
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not on the PATH; Debian has it in {package}")
    return path


def copy_error_protos(protos, folder):
    """Copies google/rpc as a package of our own, with the same wire format.

    Under its own name it would be registered a second time in a program that has
    googleapis-common-protos, and protobuf refuses that.
    """
    target = folder / "socketbroker" / "_rpc"
    target.mkdir(parents=True)
    for name in ("status.proto", "error_details.proto"):
        text = (protos / "google" / "rpc" / name).read_text()
        text, found = re.subn(r"(?m)^package google\.rpc;$", "package socketbroker.internal.rpc;", text)
        if found != 1:
            raise ValueError(f"{name}: no line 'package google.rpc;'")
        (target / name).write_text(text)


def generate(out):
    protos = find_protos()
    protoc = find_tool("protoc", "protobuf-compiler")
    plugin = find_tool("grpc_python_plugin", "protobuf-compiler-grpc")
    public = sorted(p.relative_to(protos) for p in protos.glob("socketbroker/v1/*.proto"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        copy_error_protos(protos, folder)
        internal = sorted(p.relative_to(folder) for p in folder.rglob("*.proto"))
        subprocess.run(
            [protoc, f"-I{protos}", f"-I{folder}", f"--python_out={out}", f"--pyi_out={out}", *public, *internal],
            check=True,
        )
    subprocess.run(
        [
            protoc,
            f"-I{protos}",
            f"--plugin=protoc-gen-grpc={plugin}",
            f"--grpc_out={out}",
            "socketbroker/v1/socket_broker.proto",
            "socketbroker/v1/connect_authenticator.proto",
        ],
        check=True,
    )


class BuildPy(build_py):
    def run(self):
        super().run()
        generate(HERE if self.editable_mode else self.build_lib)


class Sdist(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(find_protos(), pathlib.Path(base_dir) / "protos",
                        ignore=lambda _, names: [n for n in names if pathlib.Path(n).suffix not in ("", ".proto")])


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
