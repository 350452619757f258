#!/usr/bin/env python3
"""Builds a function's package for Lambda with sam build, into .aws-sam/FUNCTION.

    local/build.py FUNCTION                  make build runs it
    local/build.py FUNCTION --architecture   only says for which architecture

The architecture is $ARCH, else what samconfig.toml has for the function, else that of its deployed stack, else this
machine's. CloudFormation keeps a parameter's old value on an update that does not name it. So the built template
takes only the architecture that it was built for, and CloudFormation refuses a change set with another one.
"""

import os
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
ARCHITECTURES = ["arm64", "x86_64"]


def template_of(function):
    """scheduled-query's is the root's, because it is the main job."""
    return ROOT / ("template.yaml" if function == "scheduled-query" else f"functions/{function}/template.yaml")


def settings(environment):
    """What samconfig.toml has for an environment's sam deploy."""
    text = (ROOT / "samconfig.toml").read_text()
    try:
        import tomllib
    except ImportError:  # Python 3.10 and older; the virtual environment of the SAM CLI has it.
        import tomlkit as tomllib
    config = tomllib.loads(text).get(environment, {})
    return {**config.get("global", {}).get("parameters", {}), **config.get("deploy", {}).get("parameters", {})}


def of_the_stack(deploy):
    """The architecture of the deployed stack; None if there is none, or nobody may ask within a few seconds."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return None
    quick = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        session = boto3.Session(profile_name=deploy.get("profile"), region_name=deploy.get("region"))
        stacks = session.client("cloudformation", config=quick).describe_stacks(StackName=deploy["stack_name"])
    except (BotoCoreError, ClientError, KeyError) as error:
        say(f"the stack was not asked for its architecture: {error}")
        return None
    for parameter in stacks["Stacks"][0].get("Parameters", []):
        if parameter["ParameterKey"] == "Architecture":
            return parameter["ParameterValue"]
    return None


def architecture(environment):
    """Of the package, and who says so."""
    if given := os.environ.get("ARCH"):
        return given, "ARCH"
    deploy = settings(environment)
    if found := re.search(r"\bArchitecture=\W*(\w+)", str(deploy.get("parameter_overrides", ""))):
        return found[1], "samconfig.toml"
    if deployed := of_the_stack(deploy):
        return deployed, f"the stack {deploy['stack_name']}"
    return platform.machine().replace("aarch64", "arm64"), "this machine"


def narrow(template, arch):
    """Leaves one architecture to a built template."""
    text = template.read_text()
    parameter = f"  Architecture:\n    Type: String\n    Description: This package was built for {arch}.\n"
    parameter += f"    AllowedValues: [{arch}]\n    Default: {arch}\n"
    narrowed, count = re.subn(r"(?ms)^  Architecture:\n.*?(?=^  \S|^\S)", parameter, text, count=1)
    if count != 1:
        fail(f"{template} has no parameter Architecture")
    template.write_text(narrowed)


def say(text):
    print(f"build: {text}", file=sys.stderr)


def fail(text):
    say(text)
    sys.exit(1)


def main():
    function, *options = sys.argv[1:] or fail(__doc__)
    environment = "default" if function == "scheduled-query" else function
    source = template_of(function)
    if not source.is_file():
        fail(f"there is no function {function}: {source.relative_to(ROOT)} is missing")
    arch, who = architecture(environment)
    if arch not in ARCHITECTURES:
        fail(f"the architecture is arm64 or x86_64; {who} says {arch}")
    if options == ["--architecture"]:
        print(arch)
        return
    say(f"{function} for {arch}, as {who} says")
    folder = ROOT / ".aws-sam" / function
    sam = pathlib.Path(sys.executable).with_name("sam")
    command = [sam, "build", "--config-file", ROOT / "samconfig.toml", "--config-env", environment]
    command += ["--template-file", source, "--build-dir", folder, "--parameter-overrides", f"Architecture={arch}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ARCH": arch, "SAM_CLI_TELEMETRY": "0"})
    if done.returncode:
        fail(f"sam build of {function} failed, as it says above")
    narrow(folder / "template.yaml", arch)
    option = "" if environment == "default" else f" --config-env {environment}"
    say(f"built {function} for {arch} in .aws-sam/{function}. Next: sam deploy{option}")


if __name__ == "__main__":
    main()
