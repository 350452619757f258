#!/usr/bin/env python3
"""Builds a function's package for Lambda with sam build, into .aws-sam/FUNCTION.

    local/build.py FUNCTION                  make build runs it
    local/build.py FUNCTION --architecture   only says for which architecture

The architecture is $ARCH, else what samconfig.toml has for the function, else that of its deployed stack, else this
machine's. CloudFormation keeps a parameter's old value on an update that does not name it. So the built template
takes only the architecture that it was built for, and CloudFormation refuses a change set with another one.
"""

import functools
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


def configuration():
    """What samconfig.toml has for sam deploy, by environment."""
    text = (ROOT / "samconfig.toml").read_text()
    try:
        import tomllib
    except ImportError:  # Python 3.10 and older; the virtual environment of the SAM CLI has it.
        import tomlkit as tomllib
    environments = {name: commands for name, commands in tomllib.loads(text).items() if isinstance(commands, dict)}
    return {
        name: {**commands.get("global", {}).get("parameters", {}), **commands.get("deploy", {}).get("parameters", {})}
        for name, commands in environments.items()
    }


def settings(environment):
    return configuration().get(environment, {})


@functools.cache
def cloudformation(profile, region):
    import boto3
    from botocore.config import Config

    quick = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    return boto3.Session(profile_name=profile, region_name=region).client("cloudformation", config=quick)


def parameters_of_the_stack(deploy):
    """The parameters of a deployed stack; None if there is none, or nobody may ask within a few seconds."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return None
    try:
        client = cloudformation(deploy.get("profile"), deploy.get("region"))
        stacks = client.describe_stacks(StackName=deploy.get("stack_name"))
    except (BotoCoreError, ClientError) as error:
        if "does not exist" not in str(error):
            say_once(f"no stack was asked what it holds: {error}")
        return None
    return {p["ParameterKey"]: p["ParameterValue"] for p in stacks["Stacks"][0].get("Parameters", [])}


def refuse_other_stacks(function):
    """Fails if samconfig.toml would deploy the function over a stack of something else."""
    for deploy in configuration().values():
        if deploy.get("template") != f".aws-sam/{function}/template.yaml":
            continue
        deployed = parameters_of_the_stack(deploy) or {}
        if "WithScheduledQuery" in deployed:
            fail(
                f"the stack {deploy['stack_name']} is the single stack of an earlier version, and this template would "
                'delete its other functions and queues. docs/deploy.md, "Move from the single stack", says what to do'
            )
        if deployed.get("Function", function) != function:
            fail(f"the stack {deploy['stack_name']} is {deployed['Function']}'s: give {function} another stack_name")


def architecture(environment):
    """Of the package, and who says so."""
    if given := os.environ.get("ARCH"):
        return given, "ARCH"
    deploy = settings(environment)
    if found := re.search(r"\bArchitecture=\W*(\w+)", str(deploy.get("parameter_overrides", ""))):
        return found[1], "samconfig.toml"
    if deployed := (parameters_of_the_stack(deploy) or {}).get("Architecture"):
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


@functools.cache
def say_once(text):
    say(text)


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
    refuse_other_stacks(function)
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
