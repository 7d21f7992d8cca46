"""The HTTP face: five dialects of one service, and the `assay` command."""
