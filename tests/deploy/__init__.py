"""The files of deploy/: what they run is run, and what they name exists."""
