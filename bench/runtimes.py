"""Starts ours and each peer in a sandbox, each with its own runtime."""

from sandbox import Sandbox
from world import NODE_MODULES, PEERS, PYTHON, RELEASE


def ours(name, world):
    """One of this project's functions."""
    return Sandbox([RELEASE / name], world.variables, folder=world.path)


def python(module, world, function="handler"):
    """A function of a module of peers/, in AWS's runtime for Python."""
    handler = f"{module}.{function}"
    return Sandbox([PYTHON, "-m", "awslambdaric", handler], world.variables, handler, PEERS)


def node(module, world):
    """A module of peers/, in AWS's runtime for Node."""
    # Node resolves packages from the module's own folder upwards.
    folder = NODE_MODULES.parent / "peers"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.mjs").write_bytes((PEERS / f"{module}.mjs").read_bytes())
    command = ["node", NODE_MODULES / "aws-lambda-ric/bin/index.mjs", f"{module}.handler"]
    return Sandbox(command, world.variables, f"{module}.handler", folder)


def rust(name, world):
    """A program of peers/rust."""
    return Sandbox([RELEASE / name], world.variables, folder=world.path)
