"""Makes the virtual environment that Python tests run in: prepare_venv.py SOURCE VENV.

It has the client of SOURCE/client_stubs/python, installed as a user would, and
sees the packages of the system's Python. Does nothing when nothing has changed.
"""

import hashlib
import importlib
import pathlib
import shutil
import subprocess
import sys

NEEDED = {
    "google.protobuf": "python3-protobuf",
    "grpc": "python3-grpcio",
    "pytest": "python3-pytest",
    "setuptools": "python3-setuptools",
    "venv": "python3-venv",
    "wheel": "python3-wheel",
}


def check_packages():
    missing = []
    for module, package in NEEDED.items():
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(package)
    if missing:
        sys.exit(f"{sys.executable} lacks packages; install {' '.join(missing)}")


def inputs(source):
    package = source / "client_stubs" / "python"
    yield pathlib.Path(__file__)
    for folder in (package, source / "protos"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".py", ".toml", ".md", ".typed", ".proto"):
                yield path


def digest(source):
    result = hashlib.sha256(sys.version.encode())
    for path in inputs(source):
        result.update(f"{path}\0".encode() + path.read_bytes())
    return result.hexdigest()


def prepare(source, venv):
    copy = venv.with_name(venv.name + "_package")
    for folder in (venv, copy):
        shutil.rmtree(folder, ignore_errors=True)
    # A copy, with the protos where an sdist has them: nothing is built in the
    # source tree.
    shutil.copytree(source / "client_stubs" / "python", copy)
    shutil.copytree(source / "protos", copy / "protos")
    run([sys.executable, "-m", "venv", "--system-site-packages", venv])
    run([venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install",
         "--no-index", "--no-build-isolation", copy])


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}")


def main():
    source, venv = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    check_packages()
    stamp = venv / "digest"
    wanted = digest(source)
    if not stamp.exists() or stamp.read_text() != wanted:
        prepare(source, venv)
        stamp.write_text(wanted)


if __name__ == "__main__":
    main()
