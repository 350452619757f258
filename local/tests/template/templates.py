"""The functions' templates, as written and as AWS's own translator makes CloudFormation of them."""

import os
import pathlib
import sys

os.environ.update(
    AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", SAM_CLI_TELEMETRY="0"
)

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = pathlib.Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "local"), str(ROOT / "local/template")]
import build
import generate  # noqa: F401, for the tests

FUNCTIONS = [folder.name for folder in sorted((ROOT / "functions").iterdir())]


class NoManagedPolicies:
    """The templates name none."""

    def load(self):
        return {}


def path_of(function):
    return build.template_of(function)


def source(function):
    return yaml_parse(path_of(function).read_text())


def translate(template, parameters=None):
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # What `sam deploy` puts there after the upload.
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "code.zip"}
    return transform(template, parameters or {}, NoManagedPolicies())


def translated(function, parameters=None):
    return translate(source(function), parameters)


def of_type(template, kind):
    return {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == kind}


def arn(name):
    return {"Fn::GetAtt": [name, "Arn"]}
