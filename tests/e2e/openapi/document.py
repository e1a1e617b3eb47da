"""docs/openapi.yaml as the suite uses it: its operations, the routes that the
sources declare, and answers held against it. Talks to no server."""

import glob
import os
import re

import jsonschema
import yaml

ROOT = os.path.join(os.path.dirname(__file__), "../../..")
METHODS = ("get", "post", "put", "patch", "delete")

# What nginx itself serves: declared in its configuration, not in a table.
UNTABLED = {("get", "/healthz"): None, ("get", "/metrics"): None,
            ("get", "/readyz"): None}

ROUTE = re.compile(r'\{ ((?:NGX_HTTP_[A-Z]+\|?)+),\s*'
                   r'ngx_string\("(/[^"]*)"\),\s*'
                   r'(?:ngx_string\("([^"]*)"\)|ngx_null_string)')


class Mismatch(AssertionError):
    pass


def load():
    with open(os.path.join(ROOT, "docs/openapi.yaml")) as file:
        return yaml.safe_load(file)


def operations(document):
    """{operationId: (method, path, operation)}"""
    return {operation["operationId"]: (method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items() if method in METHODS}


def documented_routes(document):
    """{(method, path): scope, or several that will do, or None where no
    token is asked for}"""
    routes = {}
    for method, path, operation in operations(document).values():
        scopes = [scope for need in operation["security"]
                  for scope in need.get("bearer", ())]
        routes[method, path] = " ".join(scopes) or None
    return routes


def source_routes(texts=None):
    """{(method, path): scope} of the modules' route tables."""
    if texts is None:
        texts = []
        for name in glob.glob(os.path.join(ROOT, "ngx_coco_*_module.c")):
            with open(name) as file:
                texts.append(file.read())
    return {(method[len("NGX_HTTP_"):].lower(), path): scope or None
            for text in texts
            for methods, path, scope in ROUTE.findall(
                re.sub(r'"\s*\n\s*"', "", text))
            for method in methods.split("|")}


def compare(documented, declared):
    """What the document and the sources do not agree about."""
    declared = {**declared, **UNTABLED}
    return sorted("%s %s: documented with %s, declared with %s" % (
        *route, documented.get(route, "nothing"),
        declared.get(route, "nothing"))
        for route in {*documented, *declared}
        if documented.get(route, "nothing") != declared.get(route, "nothing"))


def resolve(document, node):
    while "$ref" in node:
        found = document
        for word in node["$ref"][2:].split("/"):
            found = found[word]
        node = found
    return node


def validator(document, schema):
    # the references are within the document
    return jsonschema.Draft202012Validator(
        {**schema, "components": document["components"]},
        format_checker=jsonschema.FormatChecker(["uuid"]))


def check(document, operation, status, headers, read_body):
    """Raises Mismatch unless the answer is one that is documented."""
    if str(status) not in operation["responses"]:
        raise Mismatch("status %s is not documented" % status)
    response = resolve(document, operation["responses"][str(status)])

    for name, header in response.get("headers", {}).items():
        if header.get("required") and name not in headers:
            raise Mismatch("the header %s is missing" % name)

    if "content" not in response:
        if read_body():
            raise Mismatch("a body is not documented")
        return

    media = headers.get("Content-Type", "").partition(";")[0]
    if media not in response["content"]:
        raise Mismatch("media type %r is not documented" % media)

    schema = response["content"][media]["schema"]
    errors = ["%s: %s" % (error.json_path, error.message) for error
              in validator(document, schema).iter_errors(read_body())]
    if errors:
        raise Mismatch("; ".join(errors))
