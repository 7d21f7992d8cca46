"""The `assay` command: an ordinary client of the REST API, and the verbs that start the service."""
