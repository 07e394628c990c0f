"""Runs agents: accepts messages, gives each task one run at a time, cancels, ends, sweeps."""

from a2a_grpc.engine.engine import Engine
from a2a_grpc.engine.incoming import Incoming, Opened, ended_before
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.upkeep import Upkeep

__all__ = ["Engine", "EngineSettings", "Incoming", "Opened", "Upkeep", "ended_before"]
