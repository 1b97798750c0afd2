"""Scenarios: how the cloud goes away and how traffic comes, as YAML files beside this one."""
