"""docs/asyncapi.yaml as the suite uses it: its channels, and a message held
against it. Talks to no server."""

import json
import os
import re

import jsonschema
import yaml

ROOT = os.path.join(os.path.dirname(__file__), "../../..")


class Mismatch(AssertionError):
    pass


class Document:
    def __init__(self):
        with open(os.path.join(ROOT, "docs/asyncapi.yaml")) as file:
            self.tree = yaml.safe_load(file)
        self.channels = [self._channel(channel)
                         for channel in self.tree["channels"].values()]

    def _channel(self, channel):
        """(servers, pattern of the address, {name: message})"""
        address = re.escape(channel["address"]).replace(
            r"\{serial\}", "([A-Za-z0-9._-]{1,64})")
        return ({ref["$ref"].rpartition("/")[2]
                 for ref in channel["servers"]},
                re.compile(address + r"\Z"),
                {ref["$ref"].rpartition("/")[2]: self.resolve(ref)
                 for ref in channel["messages"].values()})

    def resolve(self, node):
        while "$ref" in node:
            found = self.tree
            for word in node["$ref"][2:].split("/"):
                found = found[word]
            node = found
        return node

    def addresses(self, server):
        """Of channels without parameters."""
        return [channel["address"]
                for channel in self.tree["channels"].values()
                if {"$ref": "#/servers/" + server} in channel["servers"]
                and "parameters" not in channel]

    def expected(self):
        """{(server, message)} that a running system shows."""
        return {(server, name) for servers, _, messages in self.channels
                for server in servers for name in messages}

    def examples(self, name):
        return [example["payload"] for example in
                self.tree["components"]["messages"][name]["examples"]]

    def errors(self, schema, value):
        # the references are within the document
        whole = {"allOf": [schema], "components": self.tree["components"]}
        return ["%s: %s" % (error.json_path, error.message) for error in
                jsonschema.Draft7Validator(
                    whole, format_checker=jsonschema.FormatChecker(["uuid"])
                ).iter_errors(value)]

    def check(self, server, address, headers, payload):
        """The name of the message that this is; raises Mismatch when the
        document knows none such there."""
        for servers, pattern, messages in self.channels:
            if server in servers and pattern.match(address):
                break
        else:
            raise Mismatch("%s has no channel %s" % (server, address))

        try:
            value = json.loads(payload)
        except ValueError as e:
            raise Mismatch("%s: %s" % (address, e)) from e

        why = []
        for name, message in messages.items():
            errors = self.errors(message["payload"], value)
            errors += self.errors(message.get("headers", {}), headers)
            if not errors:
                return name
            why.append("%s: %s" % (name, "; ".join(errors)))
        raise Mismatch("%s, %s: %s\n%s" % (server, address, " / ".join(why),
                                           payload))
