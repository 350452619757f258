"""local/build.py: for which architecture a package is built, and that a stack of another one refuses it."""

import json
import os
import subprocess
import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

from templates import ROOT, build, path_of

THIS = os.uname().machine.replace("aarch64", "arm64")
[OTHER] = set(build.ARCHITECTURES) - {THIS}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A samconfig.toml of its own, and a cloud that refuses connections."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    build.cloudformation.cache_clear()
    build.say_once.cache_clear()
    monkeypatch.delenv("ARCH", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    def write(overrides):
        (tmp_path / "samconfig.toml").write_text(
            'version = 0.1\n[default.deploy.parameters]\nstack_name = "rds-iam-scheduled-query"\n'
            'template = ".aws-sam/scheduled-query/template.yaml"\n' + overrides
            + '\n[event-query.deploy.parameters]\nstack_name = "rds-iam-event-query"\n'
        )

    write("")
    return write


def test_arch_of_the_command_line_comes_first(project, monkeypatch):
    project(f'parameter_overrides = ["Architecture={THIS}"]')
    monkeypatch.setenv("ARCH", OTHER)
    assert build.architecture("default") == (OTHER, "ARCH")


@pytest.mark.parametrize(
    "overrides",
    [f'["DatabaseName=a", "Architecture={OTHER}"]', f"'DatabaseName=\"a\" Architecture=\"{OTHER}\"'"],
    ids=["a list", "a text, as sam deploy --guided writes it"],
)
def test_then_samconfig_of_the_same_function(project, overrides):
    project(f"parameter_overrides = {overrides}")
    assert build.architecture("default") == (OTHER, "samconfig.toml")
    assert build.architecture("event-query") == (THIS, "this machine"), "another function's section does not count"


@pytest.fixture
def cloud(monkeypatch):
    """moto's CloudFormation, and a way to make a stack in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://%s:%d" % server.get_host_and_port())
    build.cloudformation.cache_clear()

    def make(name, **parameters):
        template = {
            "Parameters": {key: {"Type": "String"} for key in parameters},
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        }
        boto3.client("cloudformation").create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )

    yield make
    boto3.client("cloudformation").delete_stack(StackName="rds-iam-scheduled-query")
    server.stop()


def test_then_the_deployed_stack(project, cloud):
    assert build.architecture("default") == (THIS, "this machine"), "there is no stack"
    cloud("rds-iam-scheduled-query", Architecture=OTHER)
    assert build.architecture("default") == (OTHER, "the stack rds-iam-scheduled-query")


@pytest.mark.parametrize(
    "parameters, says",
    [
        ({"WithScheduledQuery": "true"}, "is the single stack of an earlier version"),
        ({"Function": "event-query"}, "is event-query's: give scheduled-query another stack_name"),
    ],
)
def test_it_builds_nothing_for_a_stack_of_something_else(project, cloud, capsys, parameters, says):
    cloud("rds-iam-scheduled-query", **parameters)
    with pytest.raises(SystemExit):
        build.refuse_other_stacks("scheduled-query")
    assert says in capsys.readouterr().err


def test_it_builds_for_its_own_stack_or_none(project, cloud, capsys):
    build.refuse_other_stacks("scheduled-query")
    cloud("rds-iam-scheduled-query", Function="scheduled-query")
    build.refuse_other_stacks("scheduled-query")
    assert capsys.readouterr().err == ""


def test_last_this_machine_and_it_says_why(project, capsys):
    assert build.architecture("default") == (THIS, "this machine")
    assert "no stack was asked what it holds" in capsys.readouterr().err


def test_a_built_template_takes_its_own_architecture_alone(tmp_path):
    built = tmp_path / "template.yaml"
    built.write_text(path_of("scheduled-query").read_text())
    build.narrow(built, "x86_64")
    narrowed = build_parameters(built)["Architecture"]
    assert narrowed["AllowedValues"] == ["x86_64"] == [narrowed["Default"]]
    before = build_parameters(path_of("scheduled-query"))
    assert {n: p for n, p in build_parameters(built).items() if n != "Architecture"} == {
        n: p for n, p in before.items() if n != "Architecture"
    }


def build_parameters(path):
    from samcli.yamlhelper import yaml_parse

    return yaml_parse(path.read_text())["Parameters"]


@pytest.mark.parametrize("arguments, says", [(["no-such-function"], "there is no function"), ([], "local/build.py FUNCTION")])
def test_a_wrong_call_says_what_is_wrong(arguments, says):
    done = subprocess.run([sys.executable, ROOT / "local/build.py", *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr


def test_a_wrong_architecture_is_refused():
    done = subprocess.run(
        [sys.executable, ROOT / "local/build.py", "event-query"],
        capture_output=True, text=True, env={**os.environ, "ARCH": "sparc"},
    )
    assert done.returncode == 1 and "the architecture is arm64 or x86_64; ARCH says sparc" in done.stderr
