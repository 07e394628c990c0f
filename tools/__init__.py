"""Programs for the work on this repository. They are not part of the package."""
