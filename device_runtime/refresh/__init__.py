"""When a device asks the cloud: policies, budgets and their scores."""
